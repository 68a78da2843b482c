#!/usr/bin/env bash
# The in-memory reference, `langgraph dev`.
#
#   reference.sh install    into target/bench/reference
#   reference.sh run        until a TERM; see common.sh
set -euo pipefail
name=reference
source "$(dirname "$0")/common.sh"

case ${1:-} in
install) install_python 11 ;;
run)
    prepare python
    port=$(free_port)
    cd "$data/graphs"
    # Looking for calls that block would cost it time.
    LOG_LEVEL=WARNING start reference "$home/venv/bin/langgraph" dev --no-browser --no-reload \
        --allow-blocking --host 127.0.0.1 --port "$port" --n-jobs-per-worker 64 --server-log-level WARNING
    pid=$!
    await "$pid" answers "http://127.0.0.1:$port/ok"
    echo "url=http://127.0.0.1:$port"
    echo "pids=$pid"
    echo "version=$(package_version langgraph-api)"
    python_settings langgraph-cli langgraph-runtime-inmem langgraph
    echo "setting=n-jobs-per-worker=64"
    echo "setting=storage=memory, pickled to files now and then"
    echo "stored=$data/graphs/.langgraph_api"
    stay
    ;;
*) usage ;;
esac
