# The questions of a probe; each function prints one section. Reads only.
ask_facts() {
    mark facts
    cat /etc/os-release 2>/dev/null
    printf 'cpus=%s\narch=%s\nclock=%s\n' "$(nproc)" "$(uname -m)" "$(date +%s)"
    while read -r key value _; do
        case $key in MemTotal:) printf 'memory_kb=%s\n' "$value"; break ;; esac
    done </proc/meminfo
    read -r value </proc/sys/kernel/random/boot_id && printf 'boot_id=%s\n' "$value"
    df -Pm / | { read -r _; read -r _ _ _ value _; printf 'disk_free_mb=%s\n' "$value"; }
    if [ -e /proc/net/if_inet6 ]; then printf 'ipv6=1\n'; else printf 'ipv6=0\n'; fi
    ip -o addr show 2>/dev/null | while read -r _ key _ value _; do printf 'address=%s %s\n' "$key" "$value"; done
    # Tried, shared and for a moment: /proc/locks hides from containers the locks whose taker has ended, as flock has.
    if [ -e /run/hactl/lock ] && ! (flock -n -s 8) 8</run/hactl/lock; then printf 'busy=1\n'; fi
    if [ -r /var/lib/hactl/generation ]; then read -r value </var/lib/hactl/generation; printf 'generation=%s\n' "$value"; fi
}
ask_paths() {
    mark paths
    stat --printf '%a\t%U\t%G\t%Y\t%F\t%n\n' -- "$@" 2>/dev/null
    mark hashes
    sha256sum -- "$@" 2>/dev/null
    mark links
    for path in "$@"; do
        [ -L "$path" ] && printf '%s\t%s\n' "$path" "$(readlink -- "$path")"
    done
}
ask_contents() {
    index=0
    for path in "$@"; do
        if [ -f "$path" ] && [ "$(wc -c <"$path")" -le 262144 ]; then
            mark content $index
            cat -- "$path"
        fi
        index=$((index + 1))
    done
}
ask_lines() {
    mark lines
    index=0
    for path in "$@"; do
        if [ -f "$path" ] && [ -r "$path" ]; then
            line=
            IFS= read -r line <"$path"
            printf '%s %s\n' $index "$line"
        fi
        index=$((index + 1))
    done
}
ask_packages() {
    mark packages
    dpkg-query -W -f='${Package}\t${db:Status-Abbrev}\t${Version}\n' "$@" 2>/dev/null
    # Left behind by a dpkg, or by a run of ours, that was cut off.
    for file in /var/lib/dpkg/updates/[0-9]*; do [ -e "$file" ] && echo '!'; done
    if [ -f /usr/sbin/policy-rc.d ]; then
        { read -r _; read -r line; } </usr/sbin/policy-rc.d
        [ "$line" = '# hactl' ] && echo '!'
    fi
}
ask_users() {
    mark users
    getent passwd "$@"
    for user in "$@"; do
        groups=$(id -Gn "$user" 2>/dev/null) && printf 'groups=%s %s\n' "$user" "$groups"
    done
}
ask_groups() {
    mark groups
    getent group "$@"
}
ask_units() {
    mark units
    systemctl show --timestamp=unix -p Id,LoadState,ActiveState,UnitFileState,InvocationID,ActiveEnterTimestamp "$@"
}
ask_loaded() {
    for name in "$@"; do
        if [ -f "/run/hactl/loaded/$name" ]; then
            mark loaded "$name"
            while IFS= read -r line; do printf '%s\n' "$line"; done <"/run/hactl/loaded/$name"
        fi
    done
}
ask_sysctls() {
    mark sysctls
    for key in "$@"; do
        path=/proc/sys/$(printf '%s' "$key" | tr . /)
        # Not by `read`: some shells read byte by byte, of which the kernel gives only the first.
        if [ -w "$path" ] && value=$(tr -s '\t' ' ' <"$path"); then printf '%s=%s\n' "$key" "$value"; fi
    done
}
ask_programs() {
    mark programs
    if [ -S /run/supervisor.sock ]; then
        curl -s --max-time 10 --unix-socket /run/supervisor.sock -H 'Content-Type: text/xml' \
            -d '<?xml version="1.0"?><methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>' \
            http://localhost/RPC2
    fi
}
ask_sql() {
    mark sql
    printf '%s\n' "$T"
    command -v mariadb >/dev/null || return 0
    # Complaints come after the answers: unbuffered, they would land in the middle of one.
    {
        complaint=$({
            printf "SELECT '%s -';\n" "$T"
            index=0
            for query in "$@"; do
                printf "SELECT '%s %s';\n%s;\n" "$T" "$index" "$query"
                index=$((index + 1))
            done
        } | timeout 20 mariadb --no-defaults --skip-ssl --batch --raw --skip-column-names --force --connect-timeout=5 2>&1 >&4)
    } 4>&1
    printf '%s !\n%s\n' "$T" "$complaint"
}
ask_facts
