#!/bin/sh
# Refreshes what the query macros know of the schema of Postgres (`crates/postgres/.sqlx`), so that
# builds need no database. Run it after a change of that crate's SQL or of a migration. The crate of
# SQLite has no such macros: its tests prepare every statement.
set -eu
cd "$(dirname "$0")/.."

# With a private server, which scripts/services.sh starts and names.
if [ "${1:-}" != with-server ]; then
    exec scripts/services.sh run scripts/sql.sh with-server
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
crate=crates/postgres

cat "$crate"/migrations/*.sql |
    "$RUNLOOM_TEST_POSTGRES_BIN/psql" --quiet --no-psqlrc --set=ON_ERROR_STOP=1 \
        "$RUNLOOM_TEST_DATABASE_URL"
# Cargo skips the macros of a crate that it believes to be fresh.
touch "$crate/src/lib.rs"
RUNLOOM_POSTGRES_URL=$RUNLOOM_TEST_DATABASE_URL SQLX_OFFLINE_DIR=$scratch \
    cargo check --package runloom-postgres --all-targets
rm -rf "$crate/.sqlx"
mkdir "$crate/.sqlx"
cp "$scratch"/query-*.json "$crate/.sqlx/"
touch "$crate/src/lib.rs"
