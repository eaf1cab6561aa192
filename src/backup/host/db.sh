
# ---- the database ---------------------------------------------------------------------------------------------------

# A row that a restored copy must have. Only who takes the writes makes one; replicas get it from there.
canary() {
    is_writer || return 0
    sql "CREATE DATABASE IF NOT EXISTS hactl;
        CREATE TABLE IF NOT EXISTS hactl.backups (id BIGINT AUTO_INCREMENT PRIMARY KEY, run VARCHAR(80) NOT NULL, at DATETIME NOT NULL) ENGINE=InnoDB;
        CREATE TABLE IF NOT EXISTS hactl.timeline (id BIGINT AUTO_INCREMENT PRIMARY KEY, run VARCHAR(80) NOT NULL, at DATETIME NOT NULL) ENGINE=InnoDB;
        INSERT INTO hactl.backups (run, at) VALUES ('$1', UTC_TIMESTAMP())"
}

# What the canaries up to one add up to, as `ID SUM`.
canaries() {
    _said=$(sql "SELECT COALESCE(MAX(id),0), COALESCE(SUM(CRC32(CONCAT_WS('/',id,run,at))),0) FROM hactl.backups" 2>/dev/null) || _said='0 0'
    say "$_said" | tr '\t' ' '
}

# Once an hour at least, so that there is one before each backup, and a quiet database has logs to go by.
hourly_canary() {
    [ "$(sql 'SELECT COUNT(*) FROM hactl.backups WHERE at > UTC_TIMESTAMP() - INTERVAL 1 HOUR' 2>/dev/null)" -gt 0 ] 2>/dev/null ||
        canary "hourly-$(date -u +%Y%m%dT%H%M%SZ)"
}

# Whether a replica has what it should have.
follows() {
    mariadb --no-defaults --skip-ssl --socket="$SOCKET" -E -e 'SHOW ALL SLAVES STATUS' >"$T/slaves" 2>/dev/null || return 1
    grep -q 'Slave_IO_Running: Yes' "$T/slaves" && grep -q 'Slave_SQL_Running: Yes' "$T/slaves" || return 1
    _lag=$(sed -n 's/ *Seconds_Behind_Master: \([0-9]*\)$/\1/p' "$T/slaves" | head -n 1)
    [ -n "$_lag" ] && [ "$_lag" -lt 300 ]
}

# Copies without a word that they are good: what a run left that was cut off. Those of other hosts may be at work still.
sweep() {
    while read -r _id _tags; do
        _run=$(say " $_tags" | field run)
        say " $_tags" | with stream >/dev/null && [ -n "$_run" ] || continue
        [ -z "$(with good "run=$_run" <"$T/catalog")" ] || continue
        _began=$(say " $_tags" | field began)
        [ -n "$(say "x $_tags" | with "host=$HOST")" ] || [ "${_began:-0}" -lt $(($(date +%s) - 172800)) ] || continue
        say "forgetting $_run, which was not finished"
        PATIENCE=3 patient forget "$_id" || :
    done <<END
$(with stream <"$T/catalog")
END
    for _id in $(with claim "host=$HOST" <"$T/catalog" | cut -d ' ' -f 1); do
        [ "$(echo "${claimed:-none}" | cut -c 1-8)" = "$(echo "$_id" | cut -c 1-8)" ] || PATIENCE=3 patient forget "$_id" >/dev/null || :
    done
}

# take_db TARGET: a full backup, or what changed since the last full one of these very files.
take_db() {
    use "$1"
    catalog >"$T/catalog" || { broke "$1" db "the repository cannot be read: $(last "$T/err")"; return 1; }
    sweep
    began=$(date +%s)
    run=$(date -u +%Y%m%dT%H%M%SZ)-$HOST
    # Pages have the numbers of one server's files: what changed since a full backup of others fits nothing.
    data=$(stat -c '%i.%W' "$DATA/ibdata1")
    base=$(with good type=db kind=full "host=$HOST" "data=$data" <"$T/catalog" | by began | tail -n 1)
    kind=full since=
    if [ -n "$base" ] && [ "${FULL:-}" != full ] && [ "$(say "$base" | field began)" -gt $((began - FULL_DAYS * 86400 + 3600)) ]; then
        kind=incremental since=$(say "$base" | field lsn)
    fi
    canary "$run" || { broke "$1" db 'no canary can be written'; return 1; }
    set -- "$1" $(canaries)
    line=$(timeline)
    rm -rf "$T/lsn" "$T/copy"; mkdir "$T/lsn" "$T/copy"; rm -f "$T/pipe" "$T/pipe2"; mkfifo "$T/pipe" "$T/pipe2"
    sha256sum <"$T/pipe" >"$T/sha" &
    _sum=$!
    wc -c <"$T/pipe2" >"$T/count" &
    _count=$!
    {
        mariadb-backup --no-defaults --backup --stream=mbstream --user=root --socket="$SOCKET" --datadir="$DATA" \
            --target-dir="$T/copy" --extra-lsndir="$T/lsn" ${since:+"--incremental-lsn=$since"} 2>"$T/backup.log"
        echo $? >"$T/producer"
    } | tee "$T/pipe" "$T/pipe2" | restic_ backup --json --stdin --stdin-filename db.mbs --host "$HOST" \
        --tag "hactl,cluster=$CLUSTER,stream,type=db,run=$run,host=$HOST,began=$began" >"$T/out" 2>"$T/err"
    consumer=$?
    wait "$_sum" "$_count"
    stream=$(snapshot_id "$T/out")
    sha=$(cut -d ' ' -f 1 <"$T/sha") size=$(tr -d ' ' <"$T/count")
    stored=$(sed -n 's/.*"total_bytes_processed":\([0-9]*\).*/\1/p' "$T/out" | tail -n 1)
    why=
    if [ "$(cat "$T/producer" 2>/dev/null)" != 0 ] || ! grep -q 'completed OK!' "$T/backup.log"; then
        why="mariadb-backup failed: $(last "$T/backup.log")"
    elif [ "$consumer" != 0 ] || [ -z "$stream" ]; then
        why="restic failed: $(last "$T/err")"
    elif [ "$size" != "$stored" ]; then
        why="restic stored $stored of $size bytes"
    fi
    if [ -z "$why" ]; then
        lsn=$(sed -n 's/^to_lsn = //p' "$T/lsn/"*checkpoints)
        gtid=$(sed -n "s/^binlog_pos = .*GTID of the last change '\([^']*\)'.*/\1/p" "$T/lsn/"*info | position)
        version=$(sed -n 's/^server_version = //p' "$T/lsn/"*info | tr -c 'A-Za-z0-9.\n-' _)
        [ -n "$lsn" ] && [ "$gtid" != none ] || why='mariadb-backup does not say where it is'
    fi
    if [ -n "$why" ]; then
        [ -z "$stream" ] || PATIENCE=3 patient forget "$stream" || :
        broke "$1" db "$why"
        return 1
    fi
    ended=$(date +%s)
    tags="hactl,cluster=$CLUSTER,good,type=db,kind=$kind,run=$run,host=$HOST,stream=$stream,data=$data,lsn=$lsn,gtid=$gtid"
    tags="$tags,canary=$2,canarysum=$3,sha=$sha,size=$size,began=$began,ended=$ended,version=$version,timeline=$line"
    [ "$kind" = full ] || tags="$tags,base=$(say "$base" | field run)"
    say "$tags" | tr ',' '\n' | patient backup --json --stdin --stdin-filename manifest --host "$HOST" --tag "$tags" >"$T/out" || {
        broke "$1" db "what is good cannot be written down: $(last "$T/patient")"
        return 1
    }
    fine "$1" db
    record "$1" db "ended=$ended" "size=$size" "kind=$kind" "host=$HOST"
    say "good $1 $run $kind $size $((ended - began))"
}

# Says that this host is at it; fails when another one was first, within the last hours.
claim() {
    _now=$(date +%s)
    say "$HOST" | patient backup --json --stdin --stdin-filename claim --host "$HOST" \
        --tag "hactl,cluster=$CLUSTER,claim,type=claim,host=$HOST,began=$_now" >"$T/out" || return 0
    claimed=$(snapshot_id "$T/out")
    catalog >"$T/claims" || return 0
    _first=$(with claim <"$T/claims" | awk -v since=$((_now - 21600)) '{ b = h = ""; for (i = 2; i <= NF; i++) { if (index($i, "began=") == 1) b = substr($i, 7); if (index($i, "host=") == 1) h = substr($i, 6) } if (b >= since) print b, h }' | sort | head -n 1)
    [ "${_first#* }" = "$HOST" ] && return 0
    say "${_first#* } is at it"
    unclaim
    return 1
}
unclaim() { [ -z "${claimed:-}" ] || PATIENCE=3 patient forget "$claimed" >/dev/null || :; claimed=; }

# When the day's backup was due last, in seconds.
due() {
    _at=$(date -d "today $AT" +%s)
    [ "$_at" -le "$(date +%s)" ] || _at=$(date -d "yesterday $AT" +%s)
    say "$_at"
}

# Every hour, on every host with a database: the first replica takes the day's backup when it is due, another one an hour
# later when that did not, and who takes the writes last of all. Where a target is a folder of the hosts, each takes its own.
scheduled_db() {
    alone db 60
    due=$(due)
    grace=$((RANK * 3600))
    if [ "$DATABASES" -gt 1 ]; then
        if is_writer; then
            grace=$((DATABASES * 3600))
        elif ! follows; then
            say 'this replica does not follow: it takes no backup'
            return 0
        fi
    fi
    failed=0
    for name in $TARGETS; do
        use "$name"
        catalog >"$T/catalog" || { broke "$name" db "the repository cannot be read: $(last "$T/err")"; failed=1; continue; }
        patience=$grace
        if own "$name"; then
            with "host=$HOST" <"$T/catalog" >"$T/own" && mv "$T/own" "$T/catalog"
            patience=0
        fi
        newest=$(with good type=db <"$T/catalog" | by began | tail -n 1)
        if [ -n "$newest" ]; then
            record "$name" db "ended=$(say "$newest" | field ended)" "size=$(say "$newest" | field size)" \
                "kind=$(say "$newest" | field kind)" "host=$(say "$newest" | field host)"
            [ "$(say "$newest" | field began)" -lt "$due" ] || { fine "$name" db; continue; }
        fi
        [ "$(date +%s)" -ge $((due + patience)) ] || continue
        own "$name" || claim || continue
        take_db "$name" || failed=1
        own "$name" || unclaim
        [ "$failed" = 1 ] || keep "$name" || say "$name: old copies cannot be forgotten now; the next run tries again"
    done
    return "$failed"
}
