# For scripts that define `say` and `fail` to source: packages of Debian.
# shellcheck shell=bash

# Installs a Debian package, without the server that it would start.
debian() {
    command -v apt-get >/dev/null || fail "$1 is missing: install it, and have it in PATH"
    [[ $(id -u) == 0 ]] || fail "$1 is missing: sudo apt-get install $1"
    say "installing the Debian package $1"
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        # shellcheck disable=SC2064
        trap "rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    install_quietly() {
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install \
            -y -qq --no-install-recommends "$1" >/dev/null 2>&1
    }
    install_quietly "$1" || { apt-get update -qq >&2 && install_quietly "$1"; } ||
        fail "apt-get install $1 failed"
}
