# The host's side of carrying out a plan; runs in the session's shell. $RUN: the run's id.
R=/run/hactl/runs/$RUN
JOURNAL=/var/lib/hactl/journal/$RUN.log

parent() { sed -n 's/^PPid:[^0-9]*//p' "/proc/$1/status" 2>/dev/null; }
ancestry() { _p=$(parent "$1"); printf '%s %s' "$_p" "$(parent "${_p:-0}")"; }

# lock WAIT: takes the kernel lock, which this shell keeps until it ends, connection included.
lock() {
    mkdir -p -m 700 /run/hactl || { mark failed; echo "cannot write below /run"; return 4; }
    exec 9>>/run/hactl/lock
    flock -n 9 && return 0
    { read -r _pid; read -r _ancestry; } <"/run/hactl/holder" 2>/dev/null
    # A connection that died leaves its shell, with the lock, until the running step ends: the shell has other parents
    # by then. That is waited for; a live holder is not.
    if [ -n "${_pid-}" ] && [ -d "/proc/$_pid" ] && [ "$(ancestry "$_pid")" = "${_ancestry-}" ]; then
        mark locked
        sed 1,2d /run/hactl/holder
        return 6
    fi
    mark waits
    echo "for the last step of a run that was cut off"
    flock -w "$1" 9 && return 0
    mark locked
    sed 1,2d /run/hactl/holder
    return 6
}

# settle WAIT: waits for what a run that was cut off still does, and leaves the lock alone.
settle() {
    lock "$1" || return $?
    exec 9>&-
}

# hold WHO SINCE DOING GENERATION WAIT: makes this run the one that may change the host.
hold() {
    [ "${HELD-}" = "$RUN" ] && return 0
    mkdir -p -m 755 /var/lib/hactl && mkdir -p -m 700 /var/lib/hactl/journal ||
        { mark failed; echo "cannot write below /var/lib"; return 4; }
    lock "$5" || return $?
    mkdir -p /run/hactl/runs
    printf '%s\n%s\n%s, since %s: %s (run %s)\n' "$$" "$(ancestry $$)" "$1" "$2" "$3" "$RUN" >/run/hactl/holder
    _now=
    [ ! -r /var/lib/hactl/generation ] || read -r _now </var/lib/hactl/generation
    if [ "$_now" != "$4" ]; then
        mark moved
        echo "another run ($_now) changed this host after it was looked at"
        return 7
    fi
    rm -rf /run/hactl/runs/*
    mkdir -m 700 "$R" || { mark failed; echo "cannot write below /run"; return 4; }
    trap 'rm -rf "$R"' EXIT
    printf '%s\n' "$RUN" >/var/lib/hactl/.generation~ && mv -fT /var/lib/hactl/.generation~ /var/lib/hactl/generation ||
        { mark failed; echo "cannot write below /var/lib/hactl (is the disk full?)"; return 4; }
    ls -1t /var/lib/hactl/journal | sed 1,100d | while read -r _old; do rm -f "/var/lib/hactl/journal/$_old"; done
    printf 'run %s\nby %s\nsince %s\ndoing %s\n' "$RUN" "$1" "$2" "$3" >>"$JOURNAL"
    HELD=$RUN
}

# recv FILE BYTES: the next part of the payload.
recv() { head -c "$2" >"$R/$1" || { mark failed; echo "cannot stage the data of the steps below /run"; return 4; }; }

# step NUMBER SECONDS ID
step() {
    if [ -e "$R/stop" ]; then mark stopped; return 5; fi
    mark begin "$1" || exit 1
    printf 'begin %s %s\n' "$(date +%s)" "$3" >>"$JOURNAL"
    # `timeout` keeps the lock for as long as the step runs, even when the connection dies; what the step starts does not
    # inherit it.
    B=$R/$1 R=$R RUN=$RUN timeout -k 15 "$2" sh -c 'exec 9>&-; exec sh "$0"' "$R/$1/run" </dev/null &
    printf '%s\n' $! >"$R/pid"
    wait $!
    _rc=$?
    printf 'end %s %s\n' "$(date +%s)" "$_rc" >>"$JOURNAL"
    mark end "$1" "$_rc" || exit 1
    case $_rc in 0 | 99) return 0 ;; *) return 4 ;; esac
}

# leave STATUS LAST: ends an order.
leave() {
    if [ "$1" != 0 ] || [ "$2" = 1 ]; then
        printf 'left %s %s\n' "$(date +%s)" "$1" >>"$JOURNAL"
        [ "$1" != 0 ] || rm -rf /var/lib/hactl/previous/*
        rm -rf "$R"
    fi
    return "$1"
}
