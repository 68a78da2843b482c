#!/usr/bin/env bash
# langhost, the published server's API on langgraph-runtime-pg: the Postgres of scripts/services.sh, and a
# Redis of its own.
#
#   langhost.sh install    into target/bench/langhost, and Debian's redis-server
#   langhost.sh run        until a TERM; see common.sh
set -euo pipefail
name=langhost
source "$(dirname "$0")/common.sh"

# Debian's redis-server, without the service that it would start.
install_redis() {
    ! command -v redis-server >/dev/null || return 0
    command -v apt-get >/dev/null || fail "redis-server is missing: install it, and have it in PATH"
    [[ $(id -u) == 0 ]] || fail "redis-server is missing: sudo apt-get install redis-server"
    say "installing the Debian package redis-server"
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        # shellcheck disable=SC2064
        trap "rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    local get=(apt-get -o "DPkg::Lock::Timeout=120" -y -qq)
    export DEBIAN_FRONTEND=noninteractive
    get_redis() { "${get[@]}" install --no-install-recommends redis-server >/dev/null 2>&1; }
    get_redis || { "${get[@]}" update >&2 && get_redis; } || fail "apt-get install redis-server failed"
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
