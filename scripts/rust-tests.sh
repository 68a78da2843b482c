#!/usr/bin/env bash
# Runs the Rust tests: with cargo-nextest where it is installed (parallel), else with cargo test.
# Many need servers: `make test-rust` starts those first. Some need a Python with langgraph: that of .venv, or
# RUNLOOM_TEST_PYTHON.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -n ${RUNLOOM_TEST_PYTHON:-} ]] || scripts/venv.sh
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --no-fail-fast --status-level fail --final-status-level fail
else
  cargo test --workspace --quiet --no-fail-fast
fi
cargo test --workspace --doc --quiet
