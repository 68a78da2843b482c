#!/usr/bin/env bash
# Makes .venv with the pinned Python clients; does nothing when it is already right.
set -euo pipefail
cd "$(dirname "$0")/.."

pins=tests/clients/requirements.txt
stamp=.venv/.pins
python=${PYTHON:-python3}
want="$("$python" --version) $(sha256sum <"$pins")"
if [[ -x .venv/bin/python && -f $stamp && $(<"$stamp") == "$want" ]]; then
    exit 0
fi

echo "making .venv from $pins"
rm -rf .venv
"$python" -m venv .venv
echo '*' >.venv/.gitignore
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$pins"
echo "$want" >"$stamp"
