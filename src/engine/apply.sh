# The host's side of carrying out a plan; runs in the session's shell. $RUN: the run's id.
R=/run/hactl/runs/$RUN
JOURNAL=/var/lib/hactl/journal/$RUN.log

# Seconds after which a run that says nothing is taken for gone: eight heartbeats, and less than what its own machine needs
# to give a dead connection up.
SILENCE=40

# Seconds since the boot: a clock that is set must not make anybody look silent.
uptime() { read -r _up _ </proc/uptime; printf '%s' "${_up%%.*}"; }

# When a process began, in the kernel's ticks: with its number, that is the process and no later one of the same number.
born() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# heard: notes that the controller is there. Builtins only: it runs every few seconds. Fails when the run's folder is gone.
heard() { { read -r _up _ </proc/uptime && printf '%s\n' "${_up%%.*}" >"$R/heard"; } 2>/dev/null; }

# listen, deaf: while steps run, the session's input holds heartbeats and nothing else; this shell waits for the step, so
# another process takes them. The end of the input is the end of the connection.
listen() {
    exec 3<&0
    {
        trap - EXIT
        while read -r _; do heard || exit; done
        rm -f "$R/heard"
    } <&3 3<&- 9>&- >/dev/null 2>&1 &
    LISTENER=$!
    exec 3<&-
}
deaf() {
    kill "$LISTENER" 2>/dev/null
    wait "$LISTENER" 2>/dev/null
    return "$1"
}

# attended: whether the lock's holder has somebody at the other end of its connection. A shell that does not is ended; a
# step that it runs keeps the lock until that is done.
attended() {
    { read -r _pid _born _run; } 2>/dev/null <"/run/hactl/holder" || return 1
    [ -n "$_born" ] && [ "$(born "$_pid")" = "$_born" ] || return 1
    { read -r _heard; } 2>/dev/null <"/run/hactl/runs/$_run/heard" || return 1
    _silent=$(($(uptime) - _heard))
    [ "$_silent" -gt "$SILENCE" ] || return 0
    [ "$(born "$_pid")" != "$_born" ] || kill -KILL "$_pid"
    return 1
}

locked() {
    mark locked
    sed 1d /run/hactl/holder
    [ "${_silent:-0}" -lt 15 ] || echo "nothing was heard of it for $_silent s; after $SILENCE s it counts as gone"
    return 6
}

# lock WAIT: takes the kernel lock, which this shell keeps until it ends, connection included. What is left of a run that
# was cut off, its running step, is waited for; a run that somebody attends is not.
lock() {
    mkdir -p -m 700 /run/hactl || { mark failed; echo "cannot write below /run"; return 4; }
    exec 9>>/run/hactl/lock
    _end=$(($(uptime) + $1)) _said=
    # Probes try the lock for a moment; they are no holders.
    while ! flock -w 0.5 9; do
        ! attended || { locked; return; }
        [ "$(uptime)" -lt "$_end" ] || { locked; return; }
        # The last line end is held back on the way, since it may begin a mark: hence two.
        [ -n "$_said" ] || { mark waits; printf '%s\n\n' "for the last step of a run that was cut off"; _said=1; }
        ! flock -w 2 9 || break
    done
    # A loop's own status is that of its last try.
    return 0
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
    rm -rf /run/hactl/runs/*
    mkdir -m 700 "$R" && heard || { mark failed; echo "cannot write below /run"; return 4; }
    trap 'rm -rf "$R"' EXIT
    # A connection that is gone shows when the next mark is written: the data of the steps must not stay then either.
    trap 'exit 1' PIPE
    printf '%s %s %s\n%s, since %s: %s (run %s)\n' "$$" "$(born $$)" "$RUN" "$1" "$2" "$3" "$RUN" >/run/hactl/.holder~ &&
        mv -f /run/hactl/.holder~ /run/hactl/holder || { mark failed; echo "cannot write below /run"; return 4; }
    _now=
    [ ! -r /var/lib/hactl/generation ] || read -r _now </var/lib/hactl/generation
    if [ "$_now" != "$4" ]; then
        mark moved
        echo "another run ($_now) changed this host after it was looked at"
        return 7
    fi
    printf '%s\n' "$RUN" >/var/lib/hactl/.generation~ && mv -fT /var/lib/hactl/.generation~ /var/lib/hactl/generation ||
        { mark failed; echo "cannot write below /var/lib/hactl (is the disk full?)"; return 4; }
    ls -1t /var/lib/hactl/journal | sed 1,100d | while read -r _old; do rm -f "/var/lib/hactl/journal/$_old"; done
    printf 'run %s\nby %s\nsince %s\ndoing %s\n' "$RUN" "$1" "$2" "$3" >>"$JOURNAL"
    HELD=$RUN
}

# recv FILE BYTES: the next part of the payload, for nobody else to read.
recv() {
    umask 077
    head -c "$2" >"$R/$1" || { mark failed; echo "cannot stage the data of the steps below /run"; return 4; }
    umask 022
}

# step NUMBER SECONDS ID CHANGES
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
    printf 'end %s %s %s\n' "$(date +%s)" "$_rc" "$4" >>"$JOURNAL"
    mark end "$1" "$_rc" || exit 1
    case $_rc in 0 | 99) return 0 ;; *) return 4 ;; esac
}

# leave STATUS LAST: ends an order. What a failed one did not read of its payload must never be read as requests, so the
# session ends with it. The last order gives the lock back, whatever becomes of the connection.
leave() {
    [ "$1" = 0 ] || LAST=1
    if [ "$1" != 0 ] || [ "$2" = 1 ]; then
        printf 'left %s %s\n' "$(date +%s)" "$1" >>"$JOURNAL"
        [ "$1" != 0 ] || rm -rf /var/lib/hactl/previous/*
        rm -rf "$R"
        HELD=
        exec 9>&-
    fi
    return "$1"
}
