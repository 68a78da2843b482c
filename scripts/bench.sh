#!/usr/bin/env bash
# The benchmark: Runloom in its shapes, its peers, and the floor of this machine, one after the other, each
# on servers of its own. It needs target/release/runloom and target/release/runloom-bench (`make bench`
# builds them), and installs all else.
#
#   bench.sh [OPTIONS]
#   --only TARGETS       comma separated; the others' earlier results are kept and reported again
#   --scenarios LIST     of wait,background,first-event,interrupt,fanout,tokens,soak
#   --quick              a first look, in minutes
#   --out DIR            for results and logs; default target/bench/results
#   --publish            also writes the page, the chart and the figures in docs
#   --runloom BINARY     instead of target/release/runloom
#   --load BINARY        instead of target/release/runloom-bench
#
#   Targets: floor dev-rust dev-python one-rust one-python cluster-rust cluster-python
#   reference memory-64 (the reference, with more jobs) js aegra langhost
#
# RUNLOOM_TEST_POSTGRES_OPTIONS, such as "-c fsync=off", prevails over the settings of Postgres below.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 2
}
all=(floor dev-rust dev-python one-rust one-python cluster-rust cluster-python reference
    memory-64 js aegra langhost)
targets=("${all[@]}") out=target/bench/results load=() only='' publish='' limit=5400
scenarios=,wait,background,first-event,interrupt,fanout,tokens,soak,
runloom=target/release/runloom generator=target/release/runloom-bench
while (($#)); do
    case $1 in
    --only) only=1 && IFS=, read -ra targets <<<"${2:?}" && shift ;;
    --scenarios) scenarios=,${2:?}, && shift ;;
    --quick) load+=(--quick) && limit=900 ;;
    --out) out=${2:?} && shift ;;
    --publish) publish=1 ;;
    --runloom) runloom=${2:?} && shift ;;
    --load) generator=${2:?} && shift ;;
    *) usage ;;
    esac
    shift
done
for target in "${targets[@]}"; do
    [[ " ${all[*]} " == *" $target "* ]] || { echo "bench: no target $target" >&2 && usage; }
done
for binary in "$runloom" "$generator"; do
    [[ -x $binary ]] || { echo "bench: no binary at $binary; make bench builds it" >&2 && exit 2; }
done
# Each part on a server started for it.
parts=()
short=$(tr ',' '\n' <<<"$scenarios" | grep -vx soak | grep . | paste -sd,) || true
[[ -z $short ]] || parts+=("$short")
[[ $scenarios != *,soak,* ]] || parts+=(soak)

mkdir -p "$out/logs"
out=$(cd "$out" && pwd)
RUNLOOM_BIN=$(realpath "$runloom") RUNLOOM_BENCH_BIN=$(realpath "$generator")
export RUNLOOM_BIN RUNLOOM_BENCH_BIN RUNLOOM_BENCH_LIMIT=$limit
# As in production: what was committed survives a loss of power. The rest gives it room, so that
# checkpoints do not fall into one measurement and not into another. The result says what it was.
export RUNLOOM_TEST_POSTGRES_OPTIONS="-c fsync=on -c full_page_writes=on -c synchronous_commit=on \
    -c shared_buffers=512MB -c max_wal_size=4GB -c checkpoint_timeout=15min \
    ${RUNLOOM_TEST_POSTGRES_OPTIONS:-}"

say() { echo "bench: $*" >&2; }

# All that a target starts inherits this, and keeps its files there.
export RUNLOOM_BENCH_SESSION=$$
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/runloom-bench.XXXX")
export TMPDIR
chmod 711 "$TMPDIR"
running=
finish() {
    trap '' INT TERM HUP
    [[ -z $running ]] || kill -TERM "$running" 2>/dev/null || true
    wait 2>/dev/null || true
    leftovers >/dev/null
    rm -rf "$TMPDIR"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Prints the processes that targets started and that still live.
remaining() {
    local process
    for process in /proc/[0-9]*; do
        if tr '\0' '\n' <"$process/environ" | grep -qx "RUNLOOM_BENCH_SESSION=$RUNLOOM_BENCH_SESSION"; then
            echo "${process#/proc/}"
        fi
    done 2>/dev/null
}

# Prints what the last target left behind, and removes it.
leftovers() {
    local pid entry
    # What was told to stop is given a moment.
    for _ in {1..20}; do
        [[ -n $(remaining) ]] || break
        sleep 0.1
    done
    for pid in $(remaining); do
        echo "process $pid: $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | cut -c1-200)"
        kill -KILL "$pid" 2>/dev/null || true
    done
    for entry in "$TMPDIR"/*; do
        [[ ! -e $entry ]] || echo "in its folder: ${entry##*/}"
        rm -rf "$entry"
    done
}

# Runs a command that belongs to a target, so that a Ctrl-C ends it in order.
run() {
    local code
    set -m
    "$@" &
    running=$!
    set +m
    wait "$running" && code=0 || code=$?
    running=
    return "$code"
}

# Installs a server and measures it, with the databases that it needs; anew for a soak, which is to begin
# with nothing stored.
server() { # on, label, kind, graphs, script, its arguments
    local on=$1 script=crates/bench/peers/$5.sh services=() part code=0
    local measure=(crates/bench/peers/measure.sh "$target" "${@:2:3}" "$json" "$script" "${@:6}" --
        "${load[@]}")
    [[ $on == alone ]] || services=(scripts/services.sh run)
    run "$script" install "${@:6}" || return 1
    for part in "${parts[@]}"; do
        run "${services[@]}" "${measure[@]}" --add --only "$part" || code=1
    done
    return "$code"
}

measure() {
    local json=$out/$target.json
    rm -f "$json"
    export RUNLOOM_BENCH_LOGS=$out/logs/$target
    rm -rf "$RUNLOOM_BENCH_LOGS"
    mkdir -p "$RUNLOOM_BENCH_LOGS"
    case $target in
    floor)
        # shellcheck disable=SC2016
        run scripts/services.sh run timeout "$limit" sh -c '"$RUNLOOM_BENCH_BIN" floor --json "$0" \
            --database-url "$RUNLOOM_TEST_DATABASE_URL" --nats-url "$RUNLOOM_TEST_NATS_URL"' "$json"
        ;;
    dev-rust) server alone "Runloom dev, Rust" runloom rust runloom dev rust ;;
    dev-python) server alone "Runloom dev, Python" runloom python runloom dev python ;;
    one-rust) server services "Runloom on Postgres + NATS, Rust" runloom rust runloom one rust ;;
    one-python) server services "Runloom on Postgres + NATS, Python" runloom python runloom one python ;;
    cluster-rust) server services "Runloom 2 + 2, Rust" runloom rust runloom cluster rust ;;
    cluster-python) server services "Runloom 2 + 2, Python" runloom python runloom cluster python ;;
    reference) server alone "Reference in memory" peer python reference ;;
    memory-64) server alone "Reference in memory, 64 jobs" peer python reference 64 ;;
    js) server alone "JavaScript server in memory" peer js js ;;
    aegra) server services "Aegra on Postgres" peer python aegra ;;
    langhost) server services "langhost on Postgres + Redis" peer python langhost ;;
    esac
}

failed=0
[[ -n $only ]] || rm -f "$out"/*.json "$out"/*.missing
for target in "${targets[@]}"; do
    say "$target"
    rm -f "$out/$target.missing"
    errors=$out/logs/$target.errors
    measure 2> >(env -u RUNLOOM_BENCH_SESSION tee "$errors" >&2) && code=0 || code=$?
    if [[ $code != 0 ]]; then
        { grep . "$errors" || echo "failed with code $code"; } | tail -n 1 >"$out/$target.missing"
        say "$target FAILED: $(<"$out/$target.missing")"
        # Peers may be missing; what is ours may not.
        case $target in floor | *-rust | *-python) failed=1 ;; esac
    fi
    left=$(leftovers)
    [[ -z $left ]] || say "$target left behind, and it was removed: $left"
done

results=("$out"/*.json)
[[ -e ${results[0]} ]] || { say "nothing was measured" && exit 1; }
"$RUNLOOM_BENCH_BIN" report --json "${results[@]}" --markdown "$out/benchmarks.md" \
    --chart "$out/benchmarks.svg"
for missing in "$out"/*.missing; do
    [[ -e $missing ]] || continue
    name=$(basename "$missing" .missing)
    printf '\nNot measured, or not to the end: %s (%s)\n' "$name" "$(<"$missing")" |
        tee -a "$out/benchmarks.md"
done
if [[ -n $publish ]]; then
    mkdir -p docs/benchmarks
    cp "$out/benchmarks.md" "$out/benchmarks.svg" docs/
    cp "${results[@]}" docs/benchmarks/
fi
say "results in $out"
exit "$failed"
