#!/usr/bin/env bash
# The JavaScript server, `langgraphjs dev`.
#
#   js.sh install    into target/bench/js
#   js.sh run        until a TERM; see common.sh
set -euo pipefail
name=js
source "$(dirname "$0")/common.sh"

install() {
    local graphs=$root/crates/bench/graphs/js stamp=$home/pins want
    command -v npm >/dev/null || fail "needs Node 20 or newer with npm, and npm is not there"
    want="$(node --version) $(cat "$graphs"/package*.json | sha256sum)"
    if [[ -f $stamp && $(<"$stamp") == "$want" ]]; then return; fi
    say "installing into $home"
    rm -rf "$home"
    mkdir -p "$home"
    cp "$graphs"/package*.json "$graphs/.npmrc" "$home"
    # As locked; `npm ci` would insist on optional packages for other kinds of machine.
    (cd "$home" && npm install --no-save --loglevel error >&2) ||
        fail "its packages could not be installed from npm"
    echo "$want" >"$stamp"
}
installed() { node -p "require('$home/node_modules/$1/package.json').version"; }

# Prints the process that serves: the last in the chain of those that start each other.
serving() {
    local pid
    for pid in $(pgrep -g "$1" node); do
        tr '\0' '\n' <"/proc/$pid/cmdline" | grep -q '/loader.mjs$' && echo "$pid"
    done
}

case ${1:-} in
install) install ;;
run)
    prepare js
    ln -s "$home/node_modules" "$data/graphs/node_modules"
    port=$(free_port)
    cd "$data/graphs"
    LOG_LEVEL=warn start js node "$home/node_modules/@langchain/langgraph-cli/dist/cli/cli.mjs" dev \
        --no-browser --host 127.0.0.1 --port "$port" --n-jobs-per-worker 64
    pid=$!
    await "$pid" answers "http://127.0.0.1:$port/ok"
    echo "url=http://127.0.0.1:$port"
    # Not its guardians, which only watch for changed files.
    echo "pids=$(serving "$pid")"
    echo "version=$(installed @langchain/langgraph-cli)"
    echo "setting=node=$(node --version)"
    echo "setting=@langchain/langgraph=$(installed @langchain/langgraph)"
    echo "setting=n-jobs-per-worker=64"
    echo "setting=storage=memory, written to files when it is quiet"
    echo "stored=$data/graphs/.langgraph_api"
    stay
    ;;
*) usage ;;
esac
