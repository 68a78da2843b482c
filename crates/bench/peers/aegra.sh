#!/usr/bin/env bash
# Aegra on the Postgres of scripts/services.sh, as its package serves without a broker.
#
#   aegra.sh install    into target/bench/aegra
#   aegra.sh run        until a TERM; see common.sh
set -euo pipefail
name=aegra
source "$(dirname "$0")/common.sh"

case ${1:-} in
install) install_python 12 ;;
run)
    needs_postgres
    prepare python
    port=$(free_port)
    cd "$data/graphs"
    export DATABASE_URL=$RUNLOOM_TEST_DATABASE_URL AEGRA_CONFIG=langgraph.json AUTH_TYPE=noop
    export HOST=127.0.0.1 PORT=$port ENV_MODE=PRODUCTION LOG_LEVEL=WARNING OTEL_TARGETS=
    start aegra "$home/venv/bin/python" -m uvicorn aegra_api.main:app --host 127.0.0.1 --port "$port" \
        --log-level warning --no-access-log
    pid=$!
    await "$pid" answers "http://127.0.0.1:$port/health"
    echo "url=http://127.0.0.1:$port"
    echo "pids=$pid"
    echo "version=$(package_version aegra-api)"
    python_settings langgraph
    postgres_settings
    echo "setting=redis=none: one process, as by default"
    stay
    ;;
*) usage ;;
esac
