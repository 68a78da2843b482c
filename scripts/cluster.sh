#!/usr/bin/env bash
# Two gateways and three workers on private Postgres and NATS servers, with the test graphs, or those of
# the project that RUNLOOM_TEST_CONFIG names.
#
#   cluster.sh [BINARY]                runs until Ctrl-C, prints RUNLOOM_URLS=... for the client tests
#   cluster.sh [BINARY] -- COMMAND...  runs the command with RUNLOOM_URLS; its exit code is the script's
set -euo pipefail
cd "$(dirname "$0")/.."

binary=target/release/runloom
if [[ $# -gt 0 && $1 != -- ]]; then
    binary=$1
    shift
fi
[[ ${1:-} != -- ]] || shift
[[ -x $binary ]] || { echo "cluster: no binary at $binary" >&2 && exit 2; }
[[ -n ${RUNLOOM_TEST_FOLDER:-} ]] || exec scripts/services.sh run "$0" "$binary" -- "$@"

logs=$RUNLOOM_TEST_FOLDER/cluster
mkdir -p "$logs"
export RUNLOOM_DATABASE_URL=$RUNLOOM_TEST_DATABASE_URL RUNLOOM_NATS_URL=$RUNLOOM_TEST_NATS_URL
export RUNLOOM_NATS_PREFIX=cluster-$$
"$binary" migrate --log warn

graphs=(--test-graphs)
[[ -z ${RUNLOOM_TEST_CONFIG:-} ]] || graphs=(--config "$RUNLOOM_TEST_CONFIG")

processes=()
stop() {
    trap - EXIT
    kill -TERM "${processes[@]}" 2>/dev/null || true
    wait "${processes[@]}" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() { # name, arguments
    local name=$1
    shift
    "$binary" "$@" "${graphs[@]}" >"$logs/$name.out" 2>"$logs/$name.log" </dev/null &
    processes+=($!)
}
for name in worker-1 worker-2 worker-3; do start "$name" worker --monitor 127.0.0.1:0; done
for name in gateway-1 gateway-2; do start "$name" gateway --port 0; done

url() { # name; waits for its first address
    for _ in {1..300}; do
        grep -m1 -oE 'http://127\.0\.0\.1:[0-9]+' "$logs/$1.out" && return
        sleep 0.1
    done
    echo "cluster: $1 did not start:" >&2
    cat "$logs/$1.log" >&2
    return 1
}
for name in worker-1 worker-2 worker-3; do echo "cluster: $name $(url "$name")/metrics" >&2; done
first=$(url gateway-1)
RUNLOOM_URLS=$first,$(url gateway-2)
export RUNLOOM_URLS

if (($# == 0)); then
    echo "RUNLOOM_URLS=$RUNLOOM_URLS"
    echo "cluster: logs in $logs; Ctrl-C stops everything" >&2
    wait -n "${processes[@]}" || true
    echo "cluster: a process has ended by itself; the last lines of all:" >&2
    tail -n 5 "$logs"/*.log >&2
    exit 1
fi
"$@" && code=0 || code=$?
if [[ $code -ne 0 && -n ${RUNLOOM_KEEP_LOGS:-} ]]; then cp -r "$logs" "$RUNLOOM_KEEP_LOGS"; fi
exit "$code"
