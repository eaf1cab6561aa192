# Installs what the scripts of this repository need and this machine lacks. Sourced by POSIX sh; needs Debian's apt.
#
#   . scripts/lib/prerequisites.sh
#   prerequisites                              # the lab, ssh, git, a C compiler
#   prerequisites curl sshd=openssh-server     # and PROGRAM[=PACKAGE], each when the program is missing

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "prerequisites: '$*' needs root, and there is no sudo" >&2
        return 1
    fi
}

# Whether a program is installed; administration programs are often not in a user's PATH.
has_program() {
    (PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" && command -v "$1" >/dev/null 2>&1)
}

prerequisites() {
    missing=
    for pair in systemd-nspawn=systemd-container mmdebstrap=mmdebstrap ip=iproute2 nft=nftables sysctl=procps \
        ssh=openssh-client ssh-keygen=openssh-client git=git cc=build-essential "$@"; do
        has_program "${pair%%=*}" || missing="$missing ${pair#*=}"
    done
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
    [ -n "$missing" ] || return 0
    missing=$(printf '%s\n' $missing | sort -u)
    if ! has_program apt-get; then
        echo "prerequisites: install these with your package manager:" $missing >&2
        return 1
    fi
    echo "installing:" $missing >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 update >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
            install --no-install-recommends $missing >&2
}
