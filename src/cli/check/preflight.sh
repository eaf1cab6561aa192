# What a host must have before anything is done to it. Reads only. $1...: names that must resolve; behind `site:` names that
# DNS must lead to this host, whatever /etc/hosts says.
export DEBIAN_FRONTEND=noninteractive
mark clock; date +%s
mark system; cat /etc/os-release 2>/dev/null
mark init; [ -d /run/systemd/system ] && echo systemd
mark memory; while read -r key value _; do case $key in MemTotal:) echo "$value"; break ;; esac; done </proc/meminfo
for path in / /var; do mark disk "$path"; df -Pm "$path" | { read -r _; read -r _ _ _ free _; echo "$free"; }; done
mark ports; if command -v ss >/dev/null; then echo known; ss -Hltnp 2>/dev/null; fi
mark apt; if command -v apt-get >/dev/null; then
    timeout 30 apt-get check -qq 2>&1; echo "status $?"
    timeout 30 dpkg --audit 2>&1 | head -n 5
else echo none; fi
mark fuse; if [ -c /dev/fuse ] || modprobe -qn fuse 2>/dev/null; then echo yes; fi
mark addresses; hostname -I 2>/dev/null
for name in "$@"; do
    case $name in
    site:*) mark site "${name#site:}"; timeout 10 getent -s dns ahosts "${name#site:}" | sed -n 's/ *STREAM.*//p' ;;
    *) mark name "$name"; timeout 10 getent ahosts "$name" | head -n 1 ;;
    esac
done
