# A service that a package starts would run with the package's configuration, open ports included, until hactl gets to
# it. Debian asks /usr/sbin/policy-rc.d; ours is marked, so that a later run recognises one that a power cut left behind.
export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_MODE=l
POLICY=/usr/sbin/policy-rc.d
allow_starts() { if grep -q '^# hactl$' "$POLICY" 2>/dev/null; then rm -f "$POLICY"; fi; }

# Pattern-Only: a name that no package has would be taken for a regular expression, and everything that matches installed.
apt() {
    apt-get -q -y -o DPkg::Lock::Timeout=240 -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o APT::Install-Recommends=false \
        -o Dpkg::Use-Pty=0 -o APT::Cmd::Pattern-Only=true "$@"
}

lists_are_old() {
    [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -newermt '-24 hours' 2>/dev/null | head -n 1)" ]
}

install_packages() {
    trap allow_starts EXIT
    trap 'exit 1' INT TERM HUP
    [ -e "$POLICY" ] || { printf '#!/bin/sh\n# hactl\nexit 101\n' >"$POLICY" && chmod 755 "$POLICY"; }
    dpkg --force-confdef --force-confold --configure -a >"$R/dpkg" 2>&1 || cat "$R/dpkg"
    if lists_are_old; then apt update || fail "apt-get update failed"; fi
    apt install "$@" && return 0
    # The lists may be older than the mirror's pool.
    apt update && apt -f install && apt install "$@" || fail "apt-get could not install: $*"
}
