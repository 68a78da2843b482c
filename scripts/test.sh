#!/usr/bin/env bash
# All tests, from nothing. Ends with the counts of each layer; fails if any layer does.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

make --no-print-directory check || failed=1
scripts/services.sh run scripts/rust-tests.sh 2>&1 | tee "$log" || failed=1
rust=$(grep -E '^ *Summary|^test result:' "$log" | sed 's/^ *//')
scripts/rolling-change.sh 2>&1 | tee "$log" || failed=1
rolling="from the version before: $(grep -E '^SKIPPED|^test result:' "$log" | tail -n 1)"
scripts/executor-tests.sh 2>&1 | tee "$log" || failed=1
executor="the executor in Python: $(grep -E '[0-9]+ (passed|failed)' "$log" | tail -n 1)"
cargo build --release --quiet --bin runloom || exit 1
scripts/chart-test.sh target/release/runloom 2>&1 | tee "$log" || failed=1
deployment="images, compose and chart: $(grep -E '[0-9]+ (passed|failed)' "$log" | tail -n 1)"
scripts/client-tests.sh target/release/runloom 2>&1 | tee "$log" || failed=1
clients=$(grep -E '^(python|javascript|clients)( \(heavy\))?:' "$log")
# Again, the requests alternating between two gateways on Postgres and NATS, with three workers.
RUNLOOM_BIN=target/release/runloom scripts/cluster.sh target/release/runloom -- \
    scripts/client-tests.sh 2>&1 | tee "$log" || failed=1
cluster=$(grep -E '^(python|javascript|clients)( \(heavy\))?:' "$log" | sed 's/^/on many machines: /')
# And against graphs in Python, both ways; on many machines without what needs a server of its own.
scripts/python-graphs.sh target/release/runloom 2>&1 | tee "$log" || failed=1
graphs=$(grep -E '^(python|javascript|clients)( \(heavy\))?:' "$log" | sed 's/^/graphs in Python: /')
RUNLOOM_BIN=target/release/runloom RUNLOOM_TEST_CONFIG=tests/graphs/served/langgraph.json \
    scripts/cluster.sh target/release/runloom -- sh -c '
        scripts/python-graphs.sh --python -k "test_python and not trouble"; python=$?
        scripts/python-graphs.sh --js && exit $python' 2>&1 | tee "$log" || failed=1
graphs+=$'\n'$(grep -E '^clients:' "$log" | sed 's/^/graphs in Python on many machines: /')
scripts/nats-tests.sh target/release/runloom 2>&1 | tee "$log" || failed=1
clients+=$'\nover NATS alone: '$(grep -E '^[0-9]+ (passed|failed)' "$log" | tail -n 1)

printf '\n---- many machines ----\n'
cat target/tmp/machines-*.txt 2>/dev/null
printf '\n---- the counts ----\n'
printf '%s\n' "$rust" "$rolling" "$executor" "$deployment" "$clients" "$cluster" "$graphs"
[ "$failed" = 0 ] && echo "all layers passed" || echo "FAILED"
exit "$failed"
