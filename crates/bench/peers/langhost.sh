#!/usr/bin/env bash
# langhost, the published server's API on langgraph-runtime-pg: the Postgres of scripts/services.sh, and a
# Redis of its own.
#
#   langhost.sh install    into target/bench/langhost, and Debian's redis-server
#   langhost.sh run        until a TERM; see common.sh
set -euo pipefail
name=langhost
source "$(dirname "$0")/common.sh"
source "$root/scripts/debian.sh"

install_redis() {
    command -v redis-server >/dev/null || debian redis-server
}

case ${1:-} in
install)
    install_python 11
    install_redis
    ;;
run)
    needs_postgres
    prepare python
    cd "$data/graphs"
    port=$(free_port) redis=$(free_port)
    start redis redis-server --bind 127.0.0.1 --port "$redis" --save '' --appendonly no --dir "$data"
    await "$!" redis-cli -p "$redis" ping
    LOG_LEVEL=WARNING start langhost "$home/venv/bin/langhost" serve --host 127.0.0.1 --port "$port" \
        --config langgraph.json --database-uri "$RUNLOOM_TEST_DATABASE_URL" \
        --redis-uri "redis://127.0.0.1:$redis/0" --n-jobs-per-worker 64 --allow-blocking \
        --server-log-level WARNING
    pid=$!
    await "$pid" answers "http://127.0.0.1:$port/ok"
    echo "url=http://127.0.0.1:$port"
    echo "pids=$pid"
    echo "version=$(package_version langhost)"
    python_settings langgraph-runtime-pg langgraph-api langgraph
    postgres_settings
    echo "setting=redis=$(redis-server --version | grep -oE 'v=[0-9.]+' | cut -c3-), nothing written to disk"
    echo "setting=n-jobs-per-worker=64"
    stay
    ;;
*) usage ;;
esac
