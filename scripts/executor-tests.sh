#!/usr/bin/env bash
# The tests of the Python package that executes graphs (crates/remote/python), in Python alone.
# usage: executor-tests.sh [what goes to pytest ...]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/venv.sh
cd crates/remote/python
exec ../../../.venv/bin/python -m pytest -p no:cacheprovider --quiet -n "${TEST_PROCESSES:-3}" "$@"
