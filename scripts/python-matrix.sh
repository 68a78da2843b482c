#!/usr/bin/env bash
# A part of the tests of Python graphs with each supported version of LangGraph, in a clean environment
# of its own below target/python-matrix. What is installed there is the same after a run as before.
# usage: python-matrix.sh [BINARY] [VERSION ...]
# With PYTHON set, that interpreter is the one of the environments.
set -uo pipefail
cd "$(dirname "$0")/.."

binary=target/release/runloom
if [[ $# -gt 0 && -x $1 ]]; then
    binary=$1
    shift
fi
[[ -x $binary ]] || { echo "no binary at $binary" >&2; exit 2; }
scripts/venv.sh || exit 1

# Oldest, the one before the newest big step, newest. Beside a version what it needs pinned: its own
# requirements let in a newer part that does not work with it.
versions=("0.6.11" "1.0.10 langgraph-prebuilt==1.0.8" "newest langchain")
if (($# > 0)); then versions=("$@"); fi
tests='not random and (test_wait_and_join or test_tokens or test_events or test_a_person_decides
    or test_history or test_update_state or test_subgraphs_stream or test_every_form or test_the_store
    or test_context or test_schemas or test_what_a_stop_leaves or test_a_stopped_run_goes_on
    or test_a_rollback or test_a_node_that or test_the_executor_is_killed or test_changed_code)'
python=${PYTHON:-python3}
failed=0
summary=

# Installs LangGraph $1 and the packages after it into a clean environment at $2.
prepare() { # version, folder, packages
    local version=$1 folder=$2 wanted=langgraph
    shift 2
    [[ $version == newest ]] || wanted+="==$version"
    local stamp="$("$python" --version) $wanted $*"
    if [[ -f $folder/.made && $(<"$folder/.made") == "$stamp" && $version != newest ]]; then return; fi
    rm -rf "$folder"
    "$python" -m venv "$folder" &&
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$wanted" "$@" &&
        echo "$stamp" >"$folder/.made"
}

for entry in "${versions[@]}"; do
    read -r version packages <<<"$entry"
    folder=$PWD/target/python-matrix/$version
    mkdir -p "$(dirname "$folder")"
    # shellcheck disable=SC2086
    prepare "$version" "$folder" $packages || { failed=1 && continue; }
    before=$("$folder/bin/python" -m pip freeze)
    found=$(grep -i '^langgraph==' <<<"$before")
    echo "---- $("$folder/bin/python" --version), $found ----"
    RUNLOOM_TEST_PYTHON=$folder/bin/python scripts/python-graphs.sh "$binary" --python -k "${tests//$'\n'/ }"
    code=$?
    [[ $code -eq 0 ]] && verdict=passed || { verdict=FAILED failed=1; }
    if [[ $("$folder/bin/python" -m pip freeze) == "$before" ]]; then
        verdict+=", nothing installed"
    else
        verdict+=", BUT the environment has changed" failed=1
    fi
    summary+="$found: $verdict"$'\n'
done

printf '\n---- versions of LangGraph ----\n%s' "$summary"
exit "$failed"
