#!/usr/bin/env bash
# The in-memory reference, `langgraph dev`.
#
#   reference.sh install       into target/bench/reference
#   reference.sh run [JOBS]    until a TERM; see common.sh
#
# It executes JOBS runs at a time, 10 by default, as it does itself. It looks for work every half second
# unless it has just found some, so more jobs make bursts quicker, and sustained load much slower.
set -euo pipefail
name=reference
source "$(dirname "$0")/common.sh"

case ${1:-} in
install) install_python 11 ;;
run)
    prepare python
    jobs=${2:-10}
    port=$(free_port)
    cd "$data/graphs"
    # Looking for calls that block would cost it time.
    LOG_LEVEL=WARNING start reference "$home/venv/bin/langgraph" dev --no-browser --no-reload \
        --allow-blocking --host 127.0.0.1 --port "$port" --n-jobs-per-worker "$jobs" --server-log-level WARNING
    pid=$!
    await "$pid" answers "http://127.0.0.1:$port/ok"
    echo "url=http://127.0.0.1:$port"
    echo "pids=$pid"
    echo "version=$(package_version langgraph-api)"
    python_settings langgraph-cli langgraph-runtime-inmem langgraph
    echo "setting=n-jobs-per-worker=$jobs"
    echo "setting=storage=memory, pickled to files now and then"
    echo "stored=$data/graphs/.langgraph_api"
    stay
    ;;
*) usage ;;
esac
