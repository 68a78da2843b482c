#!/usr/bin/env bash
# Makes node_modules with the locked JavaScript clients; does nothing when it is already right.
set -euo pipefail
cd "$(dirname "$0")/../tests/clients/js"

stamp=node_modules/.pins
want="$(node --version) $(cat package.json package-lock.json | sha256sum)"
if [[ -f $stamp && $(<"$stamp") == "$want" ]]; then
    exit 0
fi

echo "making tests/clients/js/node_modules"
npm ci --silent --no-audit --no-fund
echo "$want" >"$stamp"
