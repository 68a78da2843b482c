#!/usr/bin/env bash
# What it costs to run a Python graph on Runloom, beside the same graph in a process of its own.
# usage: python-bench.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/.."
export RUNLOOM_BIN=${1:-target/release/runloom}
scripts/venv.sh
exec .venv/bin/python tests/clients/bench/python_graphs.py
