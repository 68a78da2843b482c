# Sourced by the scripts of the measured servers, each of which is called `install` or `run`.
#
# `run` starts the server on a free loopback port with private data. When it is ready to serve it prints
#   url=URL              once for each address
#   pids=PID PID...      its processes, without those that they started, and without databases
#   version=VERSION
#   setting=KEY=VALUE    what a reader of the result should know, once for each setting
#   stored=PLACE         where it keeps things: a folder, or the URL of a database
#   ready
# and stays until a TERM, which leaves nothing behind.
#
# shellcheck shell=bash
# $name is set by the sourcing script.

# Every server in a process group of its own: all that it starts goes with it.
set -m
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
# shellcheck disable=SC2154
home=$root/target/bench/$name
groups=()

say() { echo "$name: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# Prints a Python of version 3.$1 or newer.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.{14,13,12,11} ~/.pyenv/versions/3.*/bin/python; do
        if "$candidate" -c "import sys; sys.exit(sys.version_info < (3, $1))" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    say "needs Python 3.$1 or newer, and none was found"
    return 1
}

# Installs the pinned packages of $name.txt into an environment of Python 3.$1 or newer.
install_python() {
    local pins=$here/$name.txt stamp=$home/pins python want
    python=$(find_python "$1") || exit 1
    want="$("$python" --version) $(sha256sum <"$pins")"
    if [[ -x $home/venv/bin/python && -f $stamp && $(<"$stamp") == "$want" ]]; then return; fi
    say "installing into $home"
    rm -rf "$home"
    mkdir -p "$home"
    "$python" -m venv "$home/venv" >&2
    "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$pins" >&2 ||
        fail "its packages could not be installed from PyPI"
    echo "$want" >"$stamp"
}

# The private folder of this call, with a copy of the graphs of $1: servers write beside them. Logs go
# to the folder RUNLOOM_BENCH_LOGS, if that is set.
prepare() {
    data=$(mktemp -d "${TMPDIR:-/tmp}/runloom-bench-$name.XXXX")
    logs=${RUNLOOM_BENCH_LOGS:-$data/logs}
    mkdir -p "$logs" "$data/tmp"
    export TMPDIR=$data/tmp
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    cp -r "$root/crates/bench/graphs/$1" "$data/graphs"
    # Nothing is told to anybody outside.
    export LANGGRAPH_CLI_NO_ANALYTICS=1 LANGGRAPH_NO_VERSION_CHECK=true DO_NOT_TRACK=1
    export LANGSMITH_TRACING=false LANGSMITH_TRACING_V2=false LANGCHAIN_TRACING_V2=false
    export OTEL_SDK_DISABLED=true NPM_CONFIG_UPDATE_NOTIFIER=false
    unset LANGSMITH_API_KEY LANGCHAIN_API_KEY LANGGRAPH_CLOUD_LICENSE_KEY LANGSMITH_CONTROL_PLANE_API_KEY
}

clean_up() {
    trap '' INT TERM HUP
    # The shell would say which of its jobs were stopped.
    exec 2>/dev/null
    local group left
    for group in "${groups[@]}"; do kill -TERM -- "-$group" || true; done
    for group in "${groups[@]}"; do
        left=150
        while kill -0 -- "-$group" && ((left-- > 0)); do sleep 0.1; done
        kill -KILL -- "-$group" || true
    done
    wait || true
    rm -rf "$data"
}

# Starts a process of the server, named $1; its id is $! then. It ends with this script, even if that is
# killed.
start() {
    local log=$logs/$1.log tied=()
    shift
    ! command -v setpriv >/dev/null || tied=(setpriv --pdeathsig TERM)
    "${tied[@]}" "$@" >"$log" 2>&1 </dev/null &
    groups+=($!)
}

# Prints a port on which nobody listens, below the range of outgoing connections.
free_port() {
    python3 -c '
import random, socket
while True:
    port = random.randrange(10000, 32000)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            print(port)
            break'
}

# Waits until the command succeeds, for as long as process $1 lives.
await() {
    local pid=$1
    shift
    for _ in {1..1200}; do
        ! "$@" >/dev/null 2>&1 || return 0
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 30 "$logs"/*.log >&2
    fail "did not start; the end of its log is above"
}
answers() { curl --silent --fail --max-time 5 --output /dev/null "$1"; }

# Prints what the packages of the environment are, as settings.
python_settings() {
    "$home/venv/bin/python" - "$@" <<'PYTHON'
import platform, sys
from importlib.metadata import version
print(f"setting=python={platform.python_version()}")
for package in sys.argv[1:]:
    print(f"setting={package}={version(package)}")
PYTHON
}
package_version() {
    "$home/venv/bin/python" -c "from importlib.metadata import version; print(version('$1'))"
}

# Prints where the database is and what it promises.
postgres_settings() {
    local query="select 'setting=' || replace(name, 'server_version', 'postgres') || '=' ||
        current_setting(name) from pg_settings where name in ('server_version', 'fsync',
        'full_page_writes', 'synchronous_commit', 'shared_buffers', 'max_wal_size') order by name"
    psql --no-psqlrc -qtA -c "$query" "$RUNLOOM_TEST_DATABASE_URL"
    echo "stored=$RUNLOOM_TEST_DATABASE_URL"
}
needs_postgres() {
    [[ -n ${RUNLOOM_TEST_DATABASE_URL:-} ]] || fail "needs Postgres: scripts/services.sh run $0 run"
}

# Says that the server is ready, and stays for as long as it lives.
stay() {
    echo ready
    wait -n "${groups[@]}" || true
    tail -n 30 "$logs"/*.log >&2
    fail "has ended by itself; the end of its log is above"
}

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 2
}
