#!/bin/sh
# Refreshes what the query macros know of the databases' schemas (`crates/*/.sqlx`), so that builds
# need no database. Run it after a change of SQL or of a migration.
set -eu
cd "$(dirname "$0")/.."

crate=crates/sqlite
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

python3 - "$scratch/schema.db" "$crate"/migrations/*.sql <<'PYTHON'
import pathlib, sqlite3, sys

database = sqlite3.connect(sys.argv[1])
for migration in sys.argv[2:]:
    database.executescript(pathlib.Path(migration).read_text())
PYTHON

mkdir "$scratch/data"
# Cargo skips the macros of a crate that it believes to be fresh.
touch "$crate/src/lib.rs"
RUNLOOM_SQLITE_URL="sqlite://$scratch/schema.db" SQLX_OFFLINE_DIR="$scratch/data" \
    cargo check --package runloom-sqlite --all-targets
rm -rf "$crate/.sqlx"
mkdir "$crate/.sqlx"
cp "$scratch"/data/query-*.json "$crate/.sqlx/"
touch "$crate/src/lib.rs"
