#!/usr/bin/env bash
# Builds both images of deploy/Dockerfile without an engine, and runs what is in them as a pod would: another
# user, a root that is only read, and one folder to write to. Where no registry of images can be reached the
# bases are made here: of Debian's packages, and of this machine's Rust. As root, on Debian; takes minutes.
# usage: image-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "images: $*" >&2; }
fail() {
    say "$*"
    exit 1
}
source scripts/debian.sh
[[ $(id -u) == 0 ]] || fail "only root can do this"
for program in buildah mmdebstrap; do
    command -v $program >/dev/null || debian $program
done

folder=$(mktemp -d)
clean() {
    local mount
    for mount in $(grep -oE " $folder/\S+" /proc/mounts | sort -r); do umount --lazy "$mount"; done
    rm -rf "$folder"
}
trap clean EXIT
# What Buildah keeps between builds goes with the rest.
export TMPDIR=$folder/tmp BUILDAH_ISOLATION=chroot
mkdir "$TMPDIR"
bud() { buildah --root "$folder/store" --runroot "$folder/run" "$@"; }
arg() { sed -nE "s/^ARG $1=//p" deploy/Dockerfile; }

# Makes the image $2 of $1, after the commands of $3.
derive() {
    local work
    work=$(bud from "$1")
    bud run "$work" -- sh -euc "$3" >&2
    if [[ $# -gt 3 ]]; then bud copy --quiet "$work" "$4" /usr/local >/dev/null; fi
    bud commit --quiet --rm "$work" "$2" >/dev/null
}

debian=$(arg DEBIAN)
say "making the bases"
mmdebstrap --quiet --variant=apt --include=ca-certificates "$debian" "$folder/base.tar"
work=$(bud from scratch)
bud add --quiet "$work" "$folder/base.tar" / >/dev/null
# Whom this machine trusts, the images may trust while they are made.
bud copy --quiet "$work" "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" \
    /etc/ssl/certs/ca-certificates.crt >/dev/null
bud config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$work"
bud config --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$work"
bud commit --quiet --rm "$work" "docker.io/library/debian:$debian-slim" >/dev/null
install="apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -o=Dpkg::Use-Pty=0"
derive "docker.io/library/debian:$debian-slim" "docker.io/library/python:$(arg PYTHON)-slim-$debian" \
    "$install python3 python3-venv python3-pip >/dev/null; ln -s python3 /usr/bin/python"
derive "docker.io/library/debian:$debian-slim" "docker.io/library/rust:$(arg RUST)-slim-$debian" \
    "$install gcc libc6-dev >/dev/null" "$(rustc --print sysroot)"

for target in runloom runloom-python; do
    say "building $target"
    bud bud --quiet --layers --format docker --file deploy/Dockerfile --ignorefile deploy/Dockerfile.dockerignore \
        --target $target --tag $target . >/dev/null
done

# Starts `runloom dev` from the image $1 on port $2 as the pods of the chart do, with what is in $3 in /app.
serve() {
    local root
    root=$(bud mount "$(bud from "$1")")
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child bash -euc '
        root=$0
        mkdir -p "$root/app"
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/tmp"
        mount --bind "$2" "$root/app"
        mount -o remount,ro,bind "$root/app"
        mount -o remount,ro,bind "$root"
        exec chroot --userspec=10001:10001 "$root" sh -euc "! touch /here /app/here 2>/dev/null; cd /app
            exec env -i HOME=/tmp PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 \
            VIRTUAL_ENV=/opt/venv runloom dev --host 127.0.0.1 --port $1 --data /tmp/data"' \
        "$root" "$2" "$3" &
}

# Asks graph $2 on port $1 until it answers, and prints the last message.
converse() {
    python3 - "$1" "$2" <<'END'
import json, sys, time, urllib.request

port, graph = sys.argv[1:]
messages = [{"role": "user", "content": "Hello"}]
body = json.dumps({"assistant_id": graph, "input": {"messages": messages}}).encode()
request = urllib.request.Request(f"http://127.0.0.1:{port}/runs/wait", body, {"content-type": "application/json"})
until = time.monotonic() + 60
while True:
    try:
        values = json.load(urllib.request.urlopen(request, timeout=60))
        break
    except OSError:
        if time.monotonic() > until:
            raise
        time.sleep(0.2)
assert values["messages"][-1]["type"] == "ai", values
print(f"{graph}: {values['messages'][-1]['content']}")
END
}

mkdir "$folder/empty" "$folder/project"
cp -r examples/python-agents/. "$folder/project"
chmod -R a+rX "$folder"
first=$((20000 + RANDOM % 10000))
serve runloom $first "$folder/empty"
converse $first agent
serve runloom-python $((first + 1)) "$folder/project"
converse $((first + 1)) assistant
# Their first processes end in order; `unshare` itself would not hear of it.
for pod in $(jobs -p); do pkill -TERM --parent "$pod"; done
wait
echo "both images work"
