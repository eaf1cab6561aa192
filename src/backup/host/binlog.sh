
# ---- binary logs ----------------------------------------------------------------------------------------------------

# began FILE: the transactions before its first.
began() {
    mariadb-binlog "$1" 2>/dev/null |
        sed -n '/Gtid list \[/,/\]/{h;s/.*Gtid list \[//;s/\].*//;s/^# *//;p;g;/\]/q}' | position
}

# Every run stores all closed logs, which costs what is new, and an index: a line for each with what was before it and what
# it ends with. So the newest snapshot of a host has all that the host still has.
ship() {
    use "$1"
    last=$STATE/$1.shipped
    now=$(date +%s)
    at=$(sql 'SELECT @@global.gtid_binlog_pos' | position) || return 1
    line=$(timeline)
    if [ -z "${force:-}" ] && [ "$(sed -n 's/^at=//p' "$last" 2>/dev/null)" = "$at $line" ]; then
        record "$1" binlog "until=$now" "gtid=$at"
        fine "$1" binlog
        return 0
    fi
    [ -n "${flushed:-}" ] || { sql 'FLUSH BINARY LOGS' && flushed=1; } || return 1
    mkdir -p "$STATE/began" "$STATE/index"
    : >"$T/index"
    : >"$T/list"
    previous=
    for name in $(sql 'SHOW BINARY LOGS' | cut -f 1); do
        [ -s "$STATE/began/$name" ] || began "$LOGS/$name" >"$STATE/began/$name"
        start=$(cat "$STATE/began/$name")
        if [ -n "$previous" ]; then
            say "$previous $start" >>"$T/index"
            say "$LOGS/${previous%% *}" >>"$T/list"
        fi
        previous="$name $start"
    done
    [ -s "$T/list" ] || return 0
    for name in $(ls "$STATE/began"); do [ -e "$LOGS/$name" ] || rm -f "$STATE/began/$name"; done
    cp "$T/index" "$STATE/index/$1"
    say "$STATE/index/$1" >>"$T/list"
    from=$(head -n 1 "$T/index" | cut -d ' ' -f 2)
    end=$(tail -n 1 "$T/index" | cut -d ' ' -f 3)
    parent=$(sed -n 's/^id=//p' "$last" 2>/dev/null)
    store() {
        patient backup --json --host "$HOST" "$@" --files-from-verbatim "$T/list" \
            --tag "hactl,cluster=$CLUSTER,good,type=binlog,host=$HOST,from=$from,gtid=$end,until=$now,timeline=$line" >"$T/out"
    }
    { [ -n "$parent" ] && store --parent "$parent" 2>/dev/null; } || store || {
        broke "$1" binlog "restic failed: $(last "$T/patient")"
        return 1
    }
    printf '%s\n' "at=$at $line" "id=$(snapshot_id "$T/out")" >"$last~" && mv -f "$last~" "$last"
    record "$1" binlog "until=$now" "gtid=$end"
    fine "$1" binlog
    say "shipped $1 $end"
}

scheduled_binlog() {
    alone binlog 300
    writes=
    ! is_writer || writes=1
    [ -z "$writes" ] || hourly_canary
    failed=0 flushed=
    for name in $TARGETS; do
        # Replicas have the same transactions; whoever takes over goes on.
        if [ -z "$writes" ] && ! own "$name"; then
            rm -f "$STATE/$name.binlog" "$STATE/$name.binlog.failed"
            continue
        fi
        ship "$name" || failed=1
    done
    return "$failed"
}

# ---- files of sites -------------------------------------------------------------------------------------------------

take_files() {
    use "$1"
    now=$(date +%s)
    cd "$FILES" || return 1
    : >"$T/list"
    for path in common_site_config.json */site_config.json */public/files */private/files; do
        [ -e "$path" ] && [ -e "$(dirname "$path")/site_config.json" -o -e "$(dirname "$(dirname "$path")")/site_config.json" -o "$path" = common_site_config.json ] &&
            say "$FILES/$path" >>"$T/list"
    done
    PATIENCE=30 patient backup --json --host "$HOST" --files-from-verbatim "$T/list" \
        --tag "hactl,cluster=$CLUSTER,good,type=files,host=$HOST,began=$now" >"$T/out" || {
        # What could not be read is a copy all the same, which nobody calls good.
        _half=$(snapshot_id "$T/out")
        [ -z "$_half" ] || PATIENCE=3 patient forget "$_half" || :
        broke "$1" files "restic failed: $(last "$T/patient")"
        return 1
    }
    size=$(sed -n 's/.*"total_bytes_processed":\([0-9]*\).*/\1/p' "$T/out" | tail -n 1)
    fine "$1" files
    record "$1" files "ended=$(date +%s)" "size=$size" "host=$HOST"
    say "good $1 files $size"
}

# Every host that has the files looks; the first one takes them, another when that did not.
scheduled_files() {
    alone files 60
    failed=0
    for name in $TARGETS; do
        use "$name"
        catalog >"$T/catalog" || { broke "$name" files "the repository cannot be read: $(last "$T/err")"; failed=1; continue; }
        rank=$FILES_RANK
        if own "$name"; then
            with "host=$HOST" <"$T/catalog" >"$T/own" && mv "$T/own" "$T/catalog"
            rank=0
        fi
        newest=$(with good type=files <"$T/catalog" | by began | tail -n 1 | field began)
        if [ -n "$newest" ]; then
            [ -e "$STATE/$name.files" ] || record "$name" files "ended=$newest"
            [ "$(date +%s)" -ge $((newest + (FILES_MINUTES + rank * (FILES_MINUTES + 5)) * 60 - 30)) ] || continue
        fi
        take_files "$name" || failed=1
    done
    return "$failed"
}
