# Brings release $TO of $NAME below $P into service, or puts the one that served before back.
#
# $P/maintenance is the gate: while it is there nginx answers 503 and what works off jobs waits (see `run`). Its first line
# says how far an update came, PHASE FROM TO, which is all that the next run has to know after a cut:
#   closed     the database has the schema of FROM
#   dumped     the same, and $P/dumps/FROM holds it
#   migrating  nobody knows the schema: the dump counts
#   migrated   the database has the schema of TO
#   opening    TO is in service: what is in the database counts from here on
# From the dump until the gate opens nothing writes to the database but the migrations: visitors get 503, gunicorn and the
# workers are stopped, and what supervisord starts after a power cut is not reached or waits. So the dump can be put back
# at any moment of it, and nothing is lost. Of several hosts all are closed then; see together.sh. Those that follow have
# no database of theirs to look after: their phases are closed and opening.

# Whoever watches may go away; half an update helps nobody. On a second Ctrl-C what runs is ended, and then it goes back.
trap '' PIPE
INTERRUPTED=
trap 'INTERRUPTED=yes' TERM
umask 022
GATE=$P/maintenance
LOG=/var/log/hactl/update-$NAME.log

phase() {
    printf '%s %s %s\nAn update is under way or was cut off: hactl apply ends it and opens the site.\n' "$1" "$FROM" "$TO" >"$GATE~" &&
        chmod 644 "$GATE~" && sync "$GATE~" && mv -fT -- "$GATE~" "$GATE" && sync "$P" || return 1
    PHASE=$1
}

# opened RELEASE: it is in service. That is written first: a power cut may bring a removed file back.
opened() {
    _wanted=$TO TO=$1
    phase opening
    _written=$?
    TO=$_wanted
    [ "$_written" = 0 ] && rm -f -- "$GATE" && sync "$P"
}

# patiently WHAT COMMAND...: runs it, and says every few seconds that it still does.
patiently() {
    _what=$1 _since=$(date +%s) _next=4
    shift
    rm -f "$R/ended"
    {
        "$@"
        echo $? >"$R/ended~"
        mv -f "$R/ended~" "$R/ended"
    } &
    until [ -e "$R/ended" ]; do
        if [ -n "$INTERRUPTED" ]; then
            wait
            INTERRUPTED=
            return 143
        fi
        sleep 0.1
        _took=$(($(date +%s) - _since))
        [ "$_took" -lt "$_next" ] || { echo "$_what ($_took s)" && _next=$((_took + 4)); }
    done
    wait
    read -r _status <"$R/ended"
    return "$_status"
}

logged() { "$@" >>"$LOG" 2>&1; }

# all VERB KEY...: side by side; each may take as long as supervisord gives it.
all() {
    _verb=$1
    shift
    for _key in "$@"; do supervisorctl "$_verb" "$_key" >/dev/null 2>&1 & done
    wait
}

# Words of ours: process names.
# shellcheck disable=SC2086
jobs_end() { [ -z "$JOBS" ] || patiently 'waiting for running jobs to end' all stop $JOBS; }

# shellcheck disable=SC2086
jobs_start() {
    [ -n "$JOBS" ] || return 0
    all start $JOBS
    healthy "$JOBS_RUN" 30
}

# shellcheck disable=SC2086
everything_ends() {
    [ -n "$WEB$JOBS" ] || return 0
    patiently 'waiting for what runs to end' all stop $WEB $RUNNING_JOBS
    RUNNING_JOBS=$JOBS
    _up=$(supervisorctl status $WEB $JOBS 2>/dev/null | grep -E ' (RUNNING|STARTING|STOPPING|BACKOFF) ')
    [ -z "$_up" ] || { printf 'these do not end:\n%s\n' "$_up" && return 1; }
    # One that supervisord does not know of.
    ! sockets 0A | grep -q . || { echo "something still listens on port $PORT" && return 1; }
}

# sockets STATE: those of gunicorn's port, as the kernel lists them.
sockets() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        grep -E "^ *[0-9]+: [0-9A-F]+:$(printf '%04X' "$PORT") [0-9A-F]+:[0-9A-F]{4} $1 "
}

# Requests that came in just before the gate closed; gunicorn would drop what it has not taken up yet.
drained() {
    sleep 0.2
    _last=$(($(date +%s) + 10))
    while sockets 01 | grep -q .; do
        [ "$(date +%s)" -lt "$_last" ] || return 0
        sleep 0.05
    done
}

# shellcheck disable=SC2086
web_start() {
    case $(supervisorctl reread 2>&1) in 'No config updates'*) ;; *) each_group group_update ;; esac
    [ -z "$WEB" ] || all start $WEB
    patiently 'waiting for it to answer' answers
}
# What ends whenever it starts does not get better by waiting, and the site is closed meanwhile.
# shellcheck disable=SC2086
answers() {
    _last=$(($(date +%s) + PATIENCE)) _ends=0 _pids=
    until healthy "$HEALTH" 3; do
        [ "$(date +%s)" -lt "$_last" ] || return 1
        [ -n "$WEB" ] || continue
        _now=$(supervisorctl status $WEB | sed -n 's/.* pid \([0-9]*\),.*/\1/p' | tr '\n' ' ')
        if [ -z "$_now" ] || { [ -n "$_pids" ] && [ "$_now" != "$_pids" ]; }; then _ends=$((_ends + 1)); fi
        _pids=$_now
        [ "$_ends" -lt 3 ] || return 1
    done
}
group_update() { supervisorctl update "$1" >/dev/null 2>&1; }
group_stamp() {
    _name=$1
    shift
    stamp "supervisor.$_name" supervisor.service "$(hashes "$@")"
    forget "$@"
}
group_back() {
    shift
    putback "$@" || :
}

current() { ln -sfn -- "releases/$1" "$P/current.hactl~" && mv -fT -- "$P/current.hactl~" "$P/current" && sync "$P"; }

# Of a database: NAME CLIENT SIZE; CLIENT is the option that leads MariaDB's clients to its server, SIZE the file of a query.
sql() { mariadb "$1" --batch --raw --skip-column-names <"$2"; }

measure() {
    _size=$(sql "$2" "$3" | head -n 1)
    case $_size in '' | *[!0-9]*) return 1 ;; esac
    _need=$((_need + _size))
}
room() {
    _need=0
    each_database measure || fail 'MariaDB does not say how large the database is; nothing was changed, the old release serves on'
    _free=$(df --output=avail -k -- "$P" | tail -n 1)
    [ "$_free" -ge "$_need" ] ||
        fail "a dump of the database may need $((_need / 1024)) MiB below $P, and $((_free / 1024)) MiB are free; nothing was changed, the old release serves on"
}

dump() {
    mkdir -p -m 700 -- "$P/dumps" && mkdir -p -m 700 -- "$P/dumps/$FROM" &&
        patiently 'dumping the database' each_database dump_one && sync "$P/dumps/$FROM" "$P/dumps" && phase dumped
}
dump_one() {
    _to=$P/dumps/$FROM/$1.sql.gz
    rm -f "$R/whole"
    {
        mariadb-dump "$2" --single-transaction --quick --hex-blob --routines --triggers --events \
            --default-character-set=utf8mb4 --max-allowed-packet=512M --add-drop-database --databases "$1" && : >"$R/whole"
    } 2>"$R/said" | (umask 077 && gzip -1 >"$_to~" 2>>"$R/said")
    [ -e "$R/whole" ] && gzip -t "$_to~" 2>>"$R/said" && sync "$_to~" && mv -fT -- "$_to~" "$_to" && return 0
    cat "$R/said"
    rm -f -- "$_to~"
    return 1
}

restore() {
    # The first release: there was nothing to lose.
    [ "$FROM" != none ] || return 0
    echo 'putting the database back'
    phase migrating && each_database dump_is_there && patiently 'putting the database back' each_database restore_one &&
        each_migration unmark && phase dumped
}
dump_is_there() { gzip -t "$P/dumps/$FROM/$1.sql.gz"; }
restore_one() { gzip -dc "$P/dumps/$FROM/$1.sql.gz" | mariadb "$2" --max-allowed-packet=512M; }

# Of a migration: NUMBER NAME MARK; MARK is `release` (a file in the release, the app's user's) or the path of a stamp.
marked() {
    case $3 in
    release) [ -e "$P/releases/$TO/.hactl/migrated" ] ;;
    # Without a stamp it is for other steps to bring the database there.
    *) [ ! -e "$3" ] || [ "$(head -n 1 -- "$3")" = "$TO" ] ;;
    esac
}
mark() {
    [ "$3" = release ] || { printf '%s\n' "$TO" >"$3~" && sync "$3~" && mv -fT -- "$3~" "$3"; }
}
unmark() {
    case $3 in
    release) runuser -u "$OWNER" -- rm -f -- "$P/releases/$TO/.hactl/migrated" "$P/releases/$BEFORE/.hactl/migrated" ;;
    *) [ ! -e "$3" ] || { printf '%s\n' "$FROM" >"$3~" && mv -fT -- "$3~" "$3"; } ;;
    esac
}
find_pending() { marked "$@" || ! "there_$1" || PENDING=yes; }
migrate() {
    ! marked "$@" && "there_$1" || return 0
    echo "migrating $2"
    patiently "migrating $2" logged "migrate_$1" && mark "$@" && return 0
    FAILED="the migration of $2 failed"
    tail -n 20 "$LOG"
    return 1
}

explain_health() {
    [ ! -s "$R/health" ] || cat "$R/health"
    for _key in $WEB; do supervisorctl tail -3000 "$_key" stderr 2>/dev/null | grep -v '\[INFO\]' | tail -n 12; done
}

# stuck WHAT HOW: neither release can serve; what to do about it.
stuck() {
    fail "$1. The site is closed (503) and stays so until a run succeeds; log: $LOG. Mend the cause and run hactl apply; $2"
}
AS_IT_IS="or, to open the site as it is: rm $GATE && supervisorctl start all"
between() {
    stuck "$1: its dump could not be put back" "or put back what is in $P/dumps/$FROM by hand (gzip -dc FILE | mariadb), then run it. Do not open the site before that"
}

# From the leader's word on, what its database has counts.
cannot_open() {
    leads || stuck "Release $TO is in service, but $GATE cannot be removed here" "$AS_IT_IS"
    back "$GATE cannot be removed"
}

# back WHY: the release before serves again, with the database as it was.
back() {
    [ "$FROM" != none ] || fail "$1. No release served before, so none was put back; log: $LOG"
    ! leads || say back
    everything_ends || stuck "$1. Release $FROM could not be put back" "$AS_IT_IS"
    # Nothing of the new release runs anywhere while the database goes back.
    everybody ended || why
    if ! leads; then
        [ -n "$WITH" ] || [ "$FROM" = "$TO" ] || stuck "$1. Release $FROM cannot serve: the database is that of $TO, which $LEADER serves" "hactl apply goes on from there"
        say ended
        leader restored || stuck "$1. Release $FROM was not put back: $(why), so nobody knows about the database" "hactl apply goes on from there"
    fi
    _database=
    case $PHASE in
    migrating | migrated)
        restore || between "$1. The database is between releases $FROM and $TO"
        _database=' with its database as it was before'
        ;;
    esac
    ! leads || say restored
    each_group group_back
    current "$FROM" || stuck "$1. Release $FROM could not be made the current one" "$AS_IT_IS"
    before_opening || stuck "$1. Release $FROM is the current one$_database, but could not be prepared" "$AS_IT_IS"
    if ! web_start; then
        explain_health
        stuck "$1. Release $FROM was put back$_database, but does not answer either" "$AS_IT_IS"
    fi
    each_group group_stamp
    opened "$FROM" || stuck "$1. Release $FROM is back$_database, but $GATE cannot be removed" "$AS_IT_IS"
    jobs_start || echo 'its workers do not run'
    fail "$1. Release $FROM serves again$_database; log: $LOG"
}

update() {
    FROM=$(readlink -- "$P/current") && FROM=${FROM##*/} || FROM=none
    PHASE=open BEFORE=$TO PENDING='' FAILED='' RUNNING_JOBS=$JOBS RESUMED=''
    [ ! -e "$LOG" ] || mv -fT -- "$LOG" "$LOG.1"
    mkdir -p -m 750 /var/log/hactl && printf '%s: %s to %s (%s)\n' "$(date)" "$FROM" "$TO" "$REFS" >"$LOG" || fail "cannot write $LOG"
    if [ -e "$GATE" ]; then
        read -r PHASE _from _to _ <"$GATE" || :
        RESUMED=yes
        case $PHASE in
        closed | dumped | migrating | migrated) FROM=$_from BEFORE=$_to ;;
        opening) PHASE=closed FROM=$_to ;;
        *) PHASE=closed ;;
        esac
        echo "an update from release $FROM to $BEFORE was cut off ($PHASE); going on from there"
    fi
    meet || fail 'Nothing was changed here'
    each_migration find_pending
    _closed=$(date +%s%3N)
    if [ "$FROM" = none ]; then
        [ "$PHASE" != open ] || phase closed || fail "cannot write $GATE"
    elif [ "$PHASE" = open ]; then
        [ -z "$PENDING" ] || room
        # The site serves on while jobs end.
        if ! jobs_end; then
            jobs_start
            fail 'interrupted; nothing was changed, the old release serves on'
        fi
        RUNNING_JOBS=
        leads || say ready
        if ! everybody ready closed || ! leader close; then
            jobs_start
            fail "$(why); nothing was changed, the old release serves on"
        fi
        ! leads || say close
        _closed=$(date +%s%3N)
        if ! phase closed; then
            jobs_start
            fail "cannot write $GATE (is the disk full?); the old release serves on"
        fi
        _seen=$(visitor_sees)
        if [ "$_seen" != 503 ]; then
            opened "$FROM"
            jobs_start
            fail "the site did not close: nginx answers $_seen instead of 503, so its configuration is not hactl's. Nothing was changed, the old release serves on; hactl apply brings nginx up to date"
        fi
        echo 'the site is closed'
        drained
    fi
    if [ "$FROM" != none ]; then
        if ! everything_ends; then
            [ -z "$RESUMED" ] && web_start && opened "$FROM" && jobs_start && fail 'The old release could not be stopped; nothing was changed, it serves on'
            stuck 'The old release could not be stopped' "$AS_IT_IS"
        fi
        before_migrating || back 'Maintenance mode could not be switched on'
        if leads; then
            say close
            everybody closed || back "$(why)"
        else
            say closed
            leader start || back "Release $TO is not in service: $(why)"
        fi
    fi
    case $PHASE in
    migrating) _restored=yes ;;
    migrated) [ "$BEFORE" = "$TO" ] && _restored=no || _restored=yes ;;
    *) _restored=no ;;
    esac
    if [ "$_restored" = yes ]; then
        restore || between "The database is between releases $FROM and $BEFORE"
        PENDING=''
        each_migration find_pending
    fi
    if [ -n "$PENDING" ] && [ "$FROM" != none ] && [ "$PHASE" = closed ]; then
        echo 'dumping the database'
        dump || back 'The database could not be dumped'
    fi
    keep "$P/current" && current "$TO" || back 'The release could not be made the current one'
    if [ -n "$PENDING" ]; then
        phase migrating || back "$GATE cannot be written"
        each_migration migrate || back "Release $TO is not in service: $FAILED"
        phase migrated || back "$GATE cannot be written"
    fi
    if [ "$FROM" = none ]; then
        # What runs it comes with later steps.
        opened "$TO" || fail "cannot remove $GATE"
        return
    fi
    ! leads || say start
    before_opening || back 'Maintenance mode could not be switched off'
    echo 'starting it'
    if ! web_start; then
        explain_health
        back "Release $TO is not in service: it did not become healthy"
    fi
    if leads; then
        everybody healthy || back "Release $TO is not in service: $(why)"
    else
        say healthy
        leader open || back "Release $TO is not in service: $(why)"
    fi
    each_group group_stamp
    opened "$TO" || cannot_open
    say open
    echo "the site was closed for $(($(date +%s%3N) - _closed)) ms"
    # Jobs write: from here on the release before cannot come back by itself.
    if ! jobs_start; then
        cat "$R/health"
        fail "release $TO serves, but its workers do not run"
    fi
    for _dump in "$P"/dumps/*; do
        [ ! -d "$_dump" ] || [ -d "$P/releases/${_dump##*/}" ] || rm -rf -- "$_dump"
    done
}

update
