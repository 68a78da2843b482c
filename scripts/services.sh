#!/usr/bin/env bash
# Private servers for tests: Postgres, and two NATS servers (the newest and the oldest supported), on
# free loopback ports, with their data in a folder that goes with them.
#
#   services.sh install         where the servers' binaries are; installs what is missing
#   services.sh run COMMAND...  runs the command with the servers; its exit code is the script's
#   services.sh run             keeps the servers until Ctrl-C, prints the variables to paste
#
# RUNLOOM_TEST_POSTGRES_OPTIONS, such as "-c fsync=on", is said to Postgres last, and so prevails.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 2
}

case ${1:-} in
install) exec scripts/service-binaries.sh ;;
run) shift ;;
*) usage ;;
esac

binaries=$(scripts/service-binaries.sh)
while IFS='=' read -r key value; do
    export "$key=$value"
done <<<"$binaries"

# Every server and the command in a process group of its own: a Ctrl-C is for this script alone.
set -m
folder= postgres= nats= floor= command=

# Waits until process $1 has ended, for at most $2 tenths of a second.
ended() {
    local left=$2
    while kill -0 "$1" 2>/dev/null && ((left-- > 0)); do sleep 0.1; done
    ! kill -0 "$1" 2>/dev/null
}

stop_all() {
    trap '' INT TERM HUP
    if [[ -n $command ]] && kill -0 "$command" 2>/dev/null; then
        kill -TERM -- "-$command" 2>/dev/null || true
        ended "$command" 150 || true
    fi
    # What the command has left behind in its group goes as well.
    [[ -z $command ]] || kill -KILL -- "-$command" 2>/dev/null || true
    local server
    # For Postgres SIGINT is the fast shutdown; NATS takes it as a plain one.
    for server in $postgres $nats $floor; do kill -INT "$server" 2>/dev/null || true; done
    for server in $postgres $nats $floor; do
        ended "$server" 50 || kill -KILL "$server" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    [[ -z $folder ]] || rm -rf "$folder"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# A script that was killed could not remove its folder.
for stale in "${TMPDIR:-/tmp}"/runloom-services.*; do
    owner=${stale##*services.}
    [[ ! -O $stale ]] || kill -0 "${owner%%.*}" 2>/dev/null || rm -rf "$stale"
done
folder=$(mktemp -d "${TMPDIR:-/tmp}/runloom-services.$$.XXXX")
chmod 711 "$folder"

# A server ends with this script, even if that is killed. (setpriv is Linux'.)
tied=()
! command -v setpriv >/dev/null || tied=(setpriv --pdeathsig)
tied_by() { [[ ${#tied[@]} == 0 ]] || echo "${tied[@]}" "$1"; }

start_postgres() {
    local data=$folder/postgres as=() port
    mkdir -m 700 "$data"
    if [[ $(id -u) == 0 ]]; then
        # Postgres refuses to run as root.
        as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
        chown postgres: "$data"
    fi
    (cd / && "${as[@]}" "$RUNLOOM_TEST_POSTGRES_BIN/initdb" -D "$data/db" -U postgres --auth=trust \
        --encoding=UTF8 --locale=C --no-sync --no-instructions >"$folder/initdb.log" 2>&1) ||
        { cat "$folder/initdb.log" >&2 && exit 1; }
    # Below the range of outgoing connections, so that none of those takes it.
    port=$(python3 -c '
import random, socket
while True:
    port = random.randrange(10000, 32000)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            print(port)
            break')
    # shellcheck disable=SC2046,SC2086
    "${as[@]}" $(tied_by KILL) "$RUNLOOM_TEST_POSTGRES_BIN/postgres" -D "$data/db" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories="$data" \
        -c max_connections=400 -c shared_buffers=64MB -c timezone=UTC \
        -c fsync=off -c full_page_writes=off ${RUNLOOM_TEST_POSTGRES_OPTIONS:-} \
        >"$folder/postgres.log" 2>&1 </dev/null &
    postgres=$!
    export RUNLOOM_TEST_DATABASE_URL=postgres://postgres@127.0.0.1:$port/postgres
}

# Starts the NATS server $1 with its data in the folder $2; it chooses its port and writes it down.
start_nats() {
    mkdir -p "$2"
    # shellcheck disable=SC2046
    $(tied_by KILL) "$1" -a 127.0.0.1 -p -1 -js -sd "$2/store" --ports_file_dir "$2" \
        >"$2.log" 2>&1 </dev/null &
}

# Waits until `probe ...` prints something; process $1 writes its log to $2.
await() {
    local pid=$1 log=$2 found
    shift 2
    for _ in {1..300}; do
        found=$("$@" 2>/dev/null) && [[ -n $found ]] && { echo "$found" && return; }
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "services: a server did not start:" >&2
    cat "$log" >&2
    return 1
}
nats_url() { cat "$1"/*.ports | grep -oE 'nats://127\.0\.0\.1:[0-9]+' | head -n1; }

start_nats "$RUNLOOM_TEST_NATS_BIN" "$folder/nats"
nats=$!
start_nats "$RUNLOOM_TEST_NATS_FLOOR_BIN" "$folder/nats-floor"
floor=$!
start_postgres
RUNLOOM_TEST_NATS_URL=$(await "$nats" "$folder/nats.log" nats_url "$folder/nats")
RUNLOOM_TEST_NATS_FLOOR_URL=$(await "$floor" "$folder/nats-floor.log" nats_url "$folder/nats-floor")
await "$postgres" "$folder/postgres.log" grep -x 'ready *' "$folder/postgres/db/postmaster.pid" >/dev/null
# What tests start for themselves lives here, so that it goes too if they are killed.
RUNLOOM_TEST_FOLDER=$folder/tests
mkdir -m 711 "$RUNLOOM_TEST_FOLDER"
export RUNLOOM_TEST_NATS_URL RUNLOOM_TEST_NATS_FLOOR_URL RUNLOOM_TEST_FOLDER

if (($# == 0)); then
    for key in "${!RUNLOOM_TEST_@}"; do echo "export $key=${!key}"; done
    echo "services: Ctrl-C stops them" >&2
    wait -n "$postgres" "$nats" "$floor" || true
    echo "services: a server has ended by itself; its log:" >&2
    tail -n 20 "$folder"/*.log >&2
    exit 1
fi

# shellcheck disable=SC2046
$(tied_by TERM) "$@" &
command=$!
wait "$command" && code=0 || code=$?
exit "$code"
