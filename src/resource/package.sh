# A service that a package starts would run with the package's configuration, open ports included, until hactl gets to
# it. Debian asks /usr/sbin/policy-rc.d; ours is marked, so that a later run recognises one that a power cut left behind.
export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_MODE=l
POLICY=/usr/sbin/policy-rc.d
allow_starts() { if grep -q '^# hactl$' "$POLICY" 2>/dev/null; then rm -f "$POLICY"; fi; }

# Seconds to wait for a package manager that runs already; a host whose own configuration says how long is obeyed.
LOCK_WAIT=240
eval "$(apt-config shell LOCK_WAIT DPkg::Lock::Timeout/i 2>/dev/null)"

# Pattern-Only: a name that no package has would be taken for a regular expression, and everything that matches installed.
apt() {
    apt-get -q -y -o "DPkg::Lock::Timeout=$LOCK_WAIT" -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o APT::Install-Recommends=false \
        -o Dpkg::Use-Pty=0 -o APT::Cmd::Pattern-Only=true "$@"
}

lists_are_old() {
    [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -newermt '-24 hours' 2>/dev/null | head -n 1)" ]
}

# said NAME COMMAND...: runs it and keeps what it prints in $R/NAME, too.
said() {
    _name=$1
    shift
    { "$@"; echo $? >"$R/status"; } 2>&1 | tee "$R/$_name"
    read -r _rc <"$R/status"
    return "$_rc"
}

locked() { grep -Eq 'Could not get lock|Unable to (acquire|lock)' "$R/$1"; }

# apt waits for dpkg's lock by itself, not for that of the lists.
update_lists() {
    _end=$(($(date +%s) + LOCK_WAIT))
    until said update apt update; do
        locked update && [ "$(date +%s)" -lt "$_end" ] || return 1
        sleep 3
    done
}

# give_up WHAT: the causes last, without what apt says around them.
give_up() {
    printf '%s\n' "$1"
    cat "$R/update" "$R/install" 2>/dev/null | grep -E '^(E|W): |is held by process' | sort -u | tail -n 12
    exit 1
}

# Those that a power cut left half unpacked: dpkg configures none of them, nor what depends on them.
half_unpacked() { dpkg-query -W -f='${db:Status-Eflag} ${binary:Package}\n' 2>/dev/null | sed -n 's/^reinstreq //p'; }

install_packages() {
    trap allow_starts EXIT
    trap 'exit 1' INT TERM HUP
    [ -e "$POLICY" ] || { printf '#!/bin/sh\n# hactl\nexit 101\n' >"$POLICY" && chmod 755 "$POLICY"; }
    dpkg --force-confdef --force-confold --configure -a >"$R/dpkg" 2>&1 || cat "$R/dpkg"
    if lists_are_old; then update_lists || give_up "apt-get update failed"; fi
    _half=$(half_unpacked)
    # shellcheck disable=SC2086
    [ -z "$_half" ] || apt install --reinstall $_half || :
    said install apt install "$@" && return 0
    ! locked install || give_up "another package manager did not end within $LOCK_WAIT s"
    # The lists may be older than the mirror's pool.
    update_lists && apt -f install && said install apt install "$@" || give_up "apt-get could not install: $*"
}
