#!/usr/bin/env bash
# The published Python and JavaScript clients against a runloom binary, or running servers.
# usage: client-tests.sh [BINARY] [--python | --js] [what goes to that suite's runner ...]
# Ends with the counts; fails if any test failed, or if none ran.
set -uo pipefail
cd "$(dirname "$0")/.."

if [[ $# -gt 0 && $1 != -* ]]; then
    export RUNLOOM_BIN=$1
    shift
    [[ -x $RUNLOOM_BIN ]] || { echo "no binary at $RUNLOOM_BIN" >&2; exit 2; }
fi
python=1 js=1
case "${1:-}" in
--python) js=0 && shift ;;
--js) python=0 && shift ;;
esac

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 broken=0

# The last number before a word in the log, 0 when it is not there.
count() { grep -oE "$1" "$log" | grep -oE '[0-9]+' | tail -1 | grep . || echo 0; }

report() { # suite, passed, failed, exit code of its runner
    echo "$1: $2 passed, $3 failed"
    passed=$((passed + $2)) failed=$((failed + $3))
    # A runner that fails without a failed test did not get so far as to test.
    if [[ $4 -ne 0 && $3 -eq 0 ]]; then broken=1; fi
}

pytest_run() { # suite, arguments
    local suite=$1 code
    shift
    .venv/bin/python -m pytest --rootdir tests/clients/python -p no:cacheprovider \
        -c tests/clients/python/pytest.ini --quiet "$@" tests/clients/python 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    [[ $code -eq 5 ]] && code=0 # every test was left out by a filter
    report "$suite" "$(count '[0-9]+ passed')" \
        "$(($(count '[0-9]+ failed') + $(count '[0-9]+ errors?')))" "$code"
}

if [[ $python -eq 1 ]]; then
    scripts/venv.sh || exit 1
    # Most tests only wait, so they run in parallel; those that measure run alone.
    pytest_run python -n "${TEST_PROCESSES:-4}" -m "not heavy" "$@"
    pytest_run "python (heavy)" -m heavy "$@"
fi

if [[ $js -eq 1 ]]; then
    scripts/node.sh || exit 1
    # A stream that a test left unread keeps its connection, and with it the process, for as long as
    # there is a server.
    (cd tests/clients/js && node --test --test-reporter spec --test-concurrency 3 \
        --test-force-exit "$@") 2>&1 |
        tee "$log"
    code=${PIPESTATUS[0]}
    report javascript "$(count ' pass [0-9]+$')" "$(count ' fail [0-9]+$')" "$code"
fi

echo "clients: $passed passed, $failed failed"
[[ $failed -eq 0 && $broken -eq 0 && $passed -gt 0 ]]
