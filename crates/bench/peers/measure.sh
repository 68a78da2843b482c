#!/usr/bin/env bash
# Measures one server: starts it by its script, runs the load against it, stops it.
#
#   measure.sh NAME LABEL KIND GRAPHS JSON SCRIPT ARGUMENTS... -- LOAD-ARGUMENTS...
#
# `SCRIPT run ARGUMENTS...` is the server (see common.sh), RUNLOOM_BENCH_BIN the load generator, which
# is ended after RUNLOOM_BENCH_LIMIT seconds.
set -euo pipefail
target=$1 label=$2 kind=$3 graphs=$4 json=$5 script=$6
shift 6
arguments=()
while [[ $1 != -- ]]; do
    arguments+=("$1")
    shift
done
shift

set -m
out=$(mktemp "${TMPDIR:-/tmp}/runloom-bench-ready.XXXX")
server=
stop() {
    trap '' INT TERM HUP
    [[ -z $server ]] || kill -TERM "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -f "$out"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

tied=()
! command -v setpriv >/dev/null || tied=(setpriv --pdeathsig TERM)
"${tied[@]}" "$script" run "${arguments[@]}" >"$out" </dev/null &
server=$!
until grep -qx ready "$out"; do
    kill -0 "$server" 2>/dev/null || exit 1
    sleep 0.1
done

load=(--name "$target" --label "$label" --kind "$kind" --graphs "$graphs" --json "$json")
while IFS='=' read -r key value; do
    case $key in
    url) load+=(--url "$value") ;;
    pids) for pid in $value; do load+=(--pid "$pid"); done ;;
    version) load+=(--version "$value") ;;
    setting) load+=(--setting "$value") ;;
    stored) load+=(--stored "$value") ;;
    esac
done <"$out"
"${tied[@]}" timeout "${RUNLOOM_BENCH_LIMIT:-3600}" "$RUNLOOM_BENCH_BIN" run "${load[@]}" "$@" &
wait "$!" && code=0 || code=$?
if [[ $code == 124 ]]; then echo "$target: the load took longer than ${RUNLOOM_BENCH_LIMIT:-3600} s" >&2; fi
# A server that died under the load has said so itself.
kill -0 "$server" 2>/dev/null || code=1
exit "$code"
