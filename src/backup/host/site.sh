
# ---- one site -------------------------------------------------------------------------------------------------------

# Called while the throw-away server runs: its copy of the database $DUMP.
dump_site() {
    [ -n "$(scratch_sql -e "SHOW DATABASES LIKE '$(say "$DUMP" | sed 's/[_%]/\\&/g')'")" ] || fail "REFUSED: the database $DUMP is not in the backup"
    mariadb-dump --no-defaults --skip-ssl --socket="$S/socket" --single-transaction --routines --triggers --events --hex-blob \
        --max-allowed-packet=1G "$DUMP" >"$STATE/$DUMP.sql" || fail "REFUSED: $DUMP cannot be dumped"
    step "$DUMP dumped"
}

# load_site DATABASE KEPT: what the database holds is kept as another one, then the dump takes its place.
load_site() {
    [ -s "$STATE/$1.sql" ] || fail 'nothing was restored here'
    tail -n 1 "$STATE/$1.sql" | grep -q 'Dump completed' || fail 'what was restored is not whole'
    is_writer || fail 'another host takes the writes by now'
    if [ ! -e "$STATE/$1.kept" ]; then
        sql "DROP DATABASE IF EXISTS \`$2\`; CREATE DATABASE \`$2\`" || exit 1
        { mariadb-dump --no-defaults --skip-ssl --socket="$SOCKET" --single-transaction --routines --triggers --events --hex-blob "$1"; echo $? >"$T/producer"; } |
            mariadb --no-defaults --skip-ssl --socket="$SOCKET" --binary-mode "$2" || fail "what $1 has cannot be kept"
        [ "$(cat "$T/producer")" = 0 ] || fail "what $1 has cannot be kept"
        say "$2" >"$STATE/$1.kept"
    fi
    sql "DROP DATABASE IF EXISTS \`$1\`; CREATE DATABASE \`$1\`" &&
        mariadb --no-defaults --skip-ssl --socket="$SOCKET" --binary-mode "$1" <"$STATE/$1.sql" || fail "$1 cannot be loaded; what it had is in $(cat "$STATE/$1.kept")"
    say "what $1 had is kept as $(cat "$STATE/$1.kept")"
    rm -f "$STATE/$1.kept" "$STATE/$1.sql"
}

# files_back TARGET SNAPSHOT SITE: files of a site that are gone come back; what is there stays as it is.
files_back() {
    use "$1"
    _to=$FILES/.hactl-restore
    rm -rf "$_to"
    mkdir "$_to" || exit 1
    restic_ restore "$2" --target "$_to" --include "$FILES/$3" >"$T/out" 2>"$T/err" || { rm -rf "$_to"; fail "REFUSED: files cannot be read: $(last "$T/err")"; }
    [ -d "$_to$FILES/$3" ] || { rm -rf "$_to"; fail "REFUSED: the site $3 is not in the backup"; }
    rm -f "$_to$FILES/$3/site_config.json"
    find "$_to$FILES/$3" -type f | wc -l >"$T/count"
    cp -an "$_to$FILES/$3/." "$FILES/$3/" || { rm -rf "$_to"; fail 'files cannot be put back'; }
    rm -rf "$_to"
    say "$(cat "$T/count") files of the backup are there again"
}
