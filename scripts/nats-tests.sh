#!/usr/bin/env bash
# The examples of docs/nats.md in Python, and what they promise, against a runloom binary on private
# Postgres and NATS servers.
# usage: nats-tests.sh [BINARY] [what goes to pytest ...]
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $# -gt 0 && $1 != -* ]]; then
    export RUNLOOM_BIN=$1
    shift
fi
binary=${RUNLOOM_BIN:-target/release/runloom}
[[ -x $binary ]] || { echo "no binary at $binary" >&2; exit 2; }
scripts/venv.sh
run=(.venv/bin/python -m pytest --rootdir tests/clients/nats -p no:cacheprovider
    -c tests/clients/nats/pytest.ini --quiet "$@" tests/clients/nats)
if [[ -n ${RUNLOOM_TEST_FOLDER:-} ]]; then exec "${run[@]}"; fi
exec scripts/services.sh run "${run[@]}"
