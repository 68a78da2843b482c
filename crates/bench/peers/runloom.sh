#!/usr/bin/env bash
# Runloom itself, started as its peers are, in one of its shapes: `dev`; `one`, one process on Postgres and
# NATS; `cluster`, two gateways and two workers on them. The servers are those of scripts/services.sh.
#
#   runloom.sh install SHAPE rust|python    makes .venv for graphs in Python
#   runloom.sh run SHAPE rust|python        RUNLOOM_BIN, or target/release/runloom; see common.sh
set -euo pipefail
name=runloom
source "$(dirname "$0")/common.sh"
action=${1:-} shape=${2:-} graphs=${3:-}
bin=${RUNLOOM_BIN:-$root/target/release/runloom}

case $shape-$graphs in
dev-rust | dev-python | one-rust | one-python | cluster-rust | cluster-python) ;;
*) usage ;;
esac
case $action in
install)
    [[ $graphs == rust ]] || "$root/scripts/venv.sh" >&2
    exit
    ;;
run) ;;
*) usage ;;
esac
[[ -x $bin ]] || fail "no binary at $bin"
# What is set for other servers on this machine is not meant.
for key in "${!RUNLOOM_@}"; do
    case $key in
    RUNLOOM_BIN | RUNLOOM_BENCH_* | RUNLOOM_TEST_*) ;;
    *) unset "$key" ;;
    esac
done

prepare python
cd "$data"
case $graphs in
rust) served=(--test-graphs) ;;
python) served=(--config "$data/graphs/langgraph.json" --python "$root/.venv") ;;
esac

processes=() urls=()
launch() { # name, option for its address, arguments
    local port
    port=$(free_port)
    start "$1" "$bin" "${@:3}" --log warn "${served[@]}" "${2//PORT/$port}"
    processes+=($!)
    await "$!" answers "http://127.0.0.1:$port/ok"
    [[ $2 != --port=* ]] || urls+=("http://127.0.0.1:$port")
}

if [[ $shape != dev ]]; then
    needs_postgres
    export RUNLOOM_DATABASE_URL=$RUNLOOM_TEST_DATABASE_URL RUNLOOM_NATS_URL=$RUNLOOM_TEST_NATS_URL
    "$bin" migrate --log warn >&2
fi
case $shape in
dev)
    calm=()
    [[ $graphs == rust ]] || calm=(--no-reload)
    launch dev --port=PORT dev --data "$data/state" "${calm[@]}"
    ;;
one) launch all --port=PORT all ;;
cluster)
    for number in 1 2; do launch "worker-$number" --monitor=127.0.0.1:PORT worker; done
    for number in 1 2; do launch "gateway-$number" --port=PORT gateway; done
    ;;
esac

for url in "${urls[@]}"; do echo "url=$url"; done
echo "pids=${processes[*]}"
echo "version=$("$bin" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+.*')"
if [[ $graphs == python ]]; then
    ln -s "$root/.venv" "$data/venv"
    home=$data
    python_settings langgraph
    echo "setting=executor-processes=1 for each worker"
fi
if [[ $shape == dev ]]; then
    echo "setting=storage=SQLite, WAL, synchronous=NORMAL"
    echo "stored=$data/state"
else
    postgres_settings
    nats=$("$RUNLOOM_TEST_NATS_BIN" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+')
    echo "setting=nats=$nats, JetStream on disk, sync_interval 2m"
fi
stay
