
# ---- how long -------------------------------------------------------------------------------------------------------

# buckets FORMAT COUNT: of lines `BEGAN RUN`, newest first, the newest of each of so many days, weeks or months.
buckets() {
    _count=$2 _seen=' '
    while read -r _began _run; do
        [ "$_count" -gt 0 ] || break
        _bucket=$(date -d "@$_began" "+$1")
        case $_seen in *" $_bucket "*) continue ;; esac
        _seen="$_seen$_bucket "
        _count=$((_count - 1))
        say "$_run"
    done
}

# Forgets what need not be kept. What a kept backup is based on stays, and so does the newest good one.
keep() {
    use "$1"
    catalog >"$T/catalog" || return 1
    with good type=db <"$T/catalog" | by began >"$T/good"
    awk '{ b = r = ""; for (i = 2; i <= NF; i++) { if (index($i, "began=") == 1) b = substr($i, 7); if (index($i, "run=") == 1) r = substr($i, 5) } print b, r }' "$T/good" |
        sort -rn >"$T/runs"
    {
        head -n 1 "$T/runs" | cut -d ' ' -f 2
        buckets %Y-%m-%d "$KEEP_DAILY" <"$T/runs"
        buckets %G-%V "$KEEP_WEEKLY" <"$T/runs"
        buckets %Y-%m "$KEEP_MONTHLY" <"$T/runs"
        # Going back to a second of the last days begins at the backup before.
        awk -v since=$(($(date +%s) - KEEP_BINLOG_DAYS * 86400)) '{ print $2 } $1 < since { exit }' "$T/runs"
    } | sort -u >"$T/kept"
    while read -r _run; do
        with good "run=$_run" <"$T/good" | field base
    done <"$T/kept" >>"$T/kept.base"
    sort -u "$T/kept" "$T/kept.base" >"$T/all"
    rm -f "$T/kept.base"
    : >"$T/forget"
    while read -r _id _tags; do
        _run=$(say "x $_tags" | field run)
        grep -qxF -- "$_run" "$T/all" || say "$_id" "$(say "x $_tags" | field stream)" >>"$T/forget"
    done <"$T/good"
    # Of logs: the newest of each host, and one of each of the last days. It has what the host had then.
    # Of files: as of databases.
    for _host in $(with good type=binlog <"$T/catalog" | field host | sort -u); do
        with good type=binlog "host=$_host" <"$T/catalog" | by until |
            awk '{ for (i = 2; i <= NF; i++) if (index($i, "until=") == 1) print substr($i, 7), $1 }' | sort -rn >"$T/logs"
        { head -n 1 "$T/logs" | cut -d ' ' -f 2; buckets %Y-%m-%d $((KEEP_BINLOG_DAYS + 1)) <"$T/logs"; } | sort -u >"$T/all"
        cut -d ' ' -f 2 "$T/logs" | sort | comm -23 - "$T/all" >>"$T/forget"
    done
    with good type=files <"$T/catalog" | by began |
        awk '{ for (i = 2; i <= NF; i++) if (index($i, "began=") == 1) print substr($i, 7), $1 }' | sort -rn >"$T/files"
    {
        head -n 24 "$T/files" | cut -d ' ' -f 2
        buckets %Y-%m-%d "$KEEP_DAILY" <"$T/files"
        buckets %G-%V "$KEEP_WEEKLY" <"$T/files"
        buckets %Y-%m "$KEEP_MONTHLY" <"$T/files"
    } | sort -u >"$T/all"
    cut -d ' ' -f 2 "$T/files" | sort | comm -23 - "$T/all" >>"$T/forget"
    if [ -s "$T/forget" ]; then
        xargs -n 200 <"$T/forget" >"$T/forget.lines"
        while read -r _ids; do
            # shellcheck disable=SC2086
            PATIENCE=6 patient forget $_ids >/dev/null || return 1
        done <"$T/forget.lines"
    fi
    # What nobody refers to any more is taken out once a week.
    if [ -z "$(find "$STATE/$1.pruned" -mtime -7 2>/dev/null)" ]; then
        [ ! -e "$STATE/$1.pruned" ] || PATIENCE=6 patient prune >/dev/null || return 1
        touch "$STATE/$1.pruned"
    fi
}
