#!/bin/sh
# Refreshes what the query macros know of the databases' schemas (`crates/*/.sqlx`), so that builds
# need no database. Run it after a change of SQL or of a migration.
#
#   sql.sh            of both databases
#   sql.sh sqlite     of one
#   sql.sh postgres
set -eu
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Checks the crate of the database $1 against the schema at the address $2.
refresh() {
    crate=crates/$1
    mkdir "$scratch/$1"
    # Cargo skips the macros of a crate that it believes to be fresh.
    touch "$crate/src/lib.rs"
    env "RUNLOOM_$(echo "$1" | tr '[:lower:]' '[:upper:]')_URL=$2" SQLX_OFFLINE_DIR="$scratch/$1" \
        cargo check --package "runloom-$1" --all-targets
    rm -rf "$crate/.sqlx"
    mkdir "$crate/.sqlx"
    cp "$scratch/$1"/query-*.json "$crate/.sqlx/"
    touch "$crate/src/lib.rs"
}

of_sqlite() {
    python3 - "$scratch/schema.db" crates/sqlite/migrations/*.sql <<'PYTHON'
import pathlib, sqlite3, sys

database = sqlite3.connect(sys.argv[1])
for migration in sys.argv[2:]:
    database.executescript(pathlib.Path(migration).read_text())
PYTHON
    refresh sqlite "sqlite://$scratch/schema.db"
}

# With a private server, which scripts/services.sh has started.
of_postgres() {
    cat crates/postgres/migrations/*.sql |
        "$RUNLOOM_TEST_POSTGRES_BIN/psql" --quiet --no-psqlrc --set=ON_ERROR_STOP=1 \
            "$RUNLOOM_TEST_DATABASE_URL"
    refresh postgres "$RUNLOOM_TEST_DATABASE_URL"
}

case ${1:-both} in
both) of_sqlite && scripts/services.sh run scripts/sql.sh of-postgres ;;
sqlite) of_sqlite ;;
postgres) scripts/services.sh run scripts/sql.sh of-postgres ;;
of-postgres) of_postgres ;;
*) sed -n 's/^#   //p' "$0" >&2 && exit 2 ;;
esac
