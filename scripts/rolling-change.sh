#!/usr/bin/env bash
# Builds the version before this one and replaces it by this one under load, process by process, on one
# database.
# usage: rolling-change.sh [REVISION]   (the commit before this one, if none)
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ $# == 0 ]] && ! git rev-parse --quiet --verify HEAD^ >/dev/null 2>&1; then
    echo "SKIPPED: no earlier version is here"
    exit
fi
revision=$(git rev-parse --verify "${1:-HEAD^}^{commit}")

tree=$(mktemp -d)
trap 'git worktree remove --force "$tree" 2>/dev/null; rm -rf "$tree"' EXIT
git worktree add --quiet --detach "$tree" "$revision"
export CARGO_TARGET_DIR=$PWD/target
binary=$PWD/target/tmp/runloom-previous
mkdir -p target/tmp
# It shares the dependencies, so only what is ours is built again; and it is put aside, as the next build
# takes its place.
(cd "$tree" && cargo build --quiet --bin runloom)
cp target/debug/runloom "$binary"
cargo build --quiet --bin runloom

echo "from $(git log -1 --format='%h %s' "$revision")"
RUNLOOM_PREVIOUS_BIN=$binary RUNLOOM_BIN=$PWD/target/debug/runloom \
    scripts/services.sh run cargo test --quiet -p runloom-tests --test chaos -- \
    --ignored --nocapture a_rolling_change_of_version
