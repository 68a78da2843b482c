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
# Other scripts keep their downloads in folders of their own here.
find .venv -mindepth 1 -maxdepth 1 ! -name nats -exec rm -rf {} + 2>/dev/null || true
"$python" -m venv .venv
echo '*' >.venv/.gitignore
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$pins"
echo "$want" >"$stamp"
