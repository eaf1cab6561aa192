# Hosts that change their release together. Each says in $TOGETHER how far it is: RUN STATE PID; what another run left there
# counts for nothing. One leads: it holds the migrations, and its word counts.
#
#   a follower               the leader
#   ready    its jobs ended  
#                            close    all are ready: close, end what runs
#   closed   nothing runs    
#                            start    the database has the schema of TO: start it behind the gate
#   healthy  TO answers      
#                            open     TO is in service
#   ended    nothing runs    back     end what runs; the database is put back when all followers have
#                            restored the database has the schema of FROM: start that
#
# Both say `here` first, and `ended` when they stop for a reason of their own. A peer that says nothing for $SILENT seconds
# is gone. Sourced before release.sh, which decides.
SILENT=60
# Seconds that the others are waited for in the beginning: all are sent off at once.
ARRIVAL=120
# Who goes with this host; empty: it goes alone.
WITH= SAID=

# say STATE
say() {
    [ -n "$WITH" ] || return 0
    SAID=$1
    printf '%s %s %s\n' "$RUN" "$1" "$$" >"$TOGETHER~" && chmod 644 "$TOGETHER~" && mv -fT -- "$TOGETHER~" "$TOGETHER"
}
# What ends without its last word has given up.
trap 'case $SAID in "" | open | restored) ;; *) say ended ;; esac' EXIT

# ask FILE: what a peer says of itself.
ask() {
    _run='' _state='' _alive='' _gate='' _current=''
    _answer=$(timeout 20 sh "$1" </dev/null 2>"$R/asked") || return 1
    read -r _run _state _alive _gate _current <<END
$_answer
END
}
takes_part() { [ "$_run" = "$RUN" ]; }
# It serves what is wanted already, or nothing yet.
needs_nothing() { [ "$_gate" = open ] && { [ "$_current" = "$TO" ] || [ "$_current" = none ]; }; }
absent() {
    case $_current in
    '') echo "$1 cannot be asked how far it is: $(tail -n 1 "$R/asked")" ;;
    *) echo "$1 takes no part in this run, and serves release $_current ($_gate): hosts change their release together" ;;
    esac
}

# meet: finds out who changes the release together with this host.
meet() {
    [ -n "$LEADER$FOLLOWERS" ] || return 0
    if [ "$FROM" = none ]; then
        # Nobody is served here.
        each_follower is_not_older
        return
    fi
    _until=$(($(date +%s) + ARRIVAL))
    if [ -z "$LEADER" ]; then
        WITH=$FOLLOWERS
        say here
        each_follower arrives
        return
    fi
    WITH=$LEADER
    say here
    until ask "$ASK_LEADER" && takes_part; do
        if [ "$_current" = "$TO" ] && [ "$_gate" = open ]; then
            # It is there already, and so is the database.
            WITH=
            rm -f -- "$TOGETHER"
            return 0
        fi
        [ "$(date +%s)" -lt "$_until" ] || { absent "$LEADER"; return 1; }
        sleep 0.3
    done
}
# Of a follower: NAME FILE. Migrating for hosts that serve is for one that can go back.
is_not_older() {
    ! ask "$2" || needs_nothing || [ "$_current" = "$TO" ] && return 0
    echo "$1 serves release $_current, and this host, which migrates for all, none: bring it to that one first"
    return 1
}
arrives() {
    until ask "$2" && takes_part; do
        if needs_nothing; then
            _others=
            for _name in $WITH; do [ "$_name" = "$1" ] || _others="$_others $_name"; done
            WITH=$_others
            return 0
        fi
        [ "$(date +%s)" -lt "$_until" ] || { absent "$1"; return 1; }
        sleep 0.3
    done
}

heard() { date +%s >"$R/peer"; }
silent() {
    read -r _at <"$R/peer"
    [ $(($(date +%s) - _at)) -ge "$SILENT" ]
}

# comes_to NAME FILE: waits until a peer says one of $WANTED; $R/why is what is wrong with it.
comes_to() {
    case " $WITH " in *" $1 "*) ;; *) return 0 ;; esac
    heard
    while :; do
        if ask "$2" && takes_part; then
            case $WANTED in *" $_state "*) return 0 ;; esac
            # Who goes back comes to nothing else any more.
            case $_state$WANTED in
            back' restored ') ;;
            ended* | back* | restored*) echo "$1 gave up" >"$R/why" && return 1 ;;
            esac
            [ "$_alive" != alive ] || heard
        fi
        ! silent || { echo "nothing is heard of $1 any more" >"$R/why"; return 1; }
        sleep 0.3
    done
}
# everybody STATE...: all followers come to one of these.
everybody() {
    [ -n "$FOLLOWERS" ] && [ -n "$WITH" ] || return 0
    echo 'interrupted' >"$R/why"
    WANTED=" $* "
    patiently "waiting for $WITH" each_follower comes_to
}
# leader STATE: the leader comes to it. Without one there is nobody to wait for.
leader() {
    [ -n "$LEADER" ] && [ -n "$WITH" ] || return 0
    echo 'interrupted' >"$R/why"
    WANTED=" $1 "
    patiently "waiting for $LEADER" comes_to "$LEADER" "$ASK_LEADER"
}
why() { cat "$R/why"; }
leads() { [ -z "$LEADER" ]; }
