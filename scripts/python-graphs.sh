#!/usr/bin/env bash
# The client tests against Python graphs: those of the Rust tests written in Python, the example project,
# and graphs that misbehave.
# usage: python-graphs.sh [BINARY] [--python | --js] [what goes to that suite's runner ...]
# With RUNLOOM_URLS they must be servers of the same project (scripts/cluster.sh starts such ones).
set -euo pipefail
cd "$(dirname "$0")/.."
export RUNLOOM_TEST_CONFIG=tests/graphs/served/langgraph.json
exec scripts/client-tests.sh "$@"
