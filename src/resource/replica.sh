# A replica's own side. $MODE: seed, follow, mend. $DONOR: the primary's address. $LINK: the file with CHANGE MASTER.
# peer COMMAND: asks the primary's host for something.
DATA=/var/lib/mysql
LOGS=/var/log/mysql

sql() { mariadb --no-defaults --skip-ssl --connect-timeout=5 --batch --raw --skip-column-names "$@"; }

# link FIELD: of the replication link, empty when there is none.
link() { mariadb --no-defaults --skip-ssl --connect-timeout=5 -E -e 'SHOW SLAVE STATUS' | sed -n "s/^ *$1: //p" | head -n 1; }

# follows SECONDS: waits until both threads run; 2 when what was received cannot be applied.
follows() {
    _end=$(($(date +%s) + $1))
    while :; do
        _io=$(link Slave_IO_Running) _sql=$(link Slave_SQL_Running) _errno=$(link Last_SQL_Errno)
        [ "${_errno:-0}" = 0 ] || return 2
        [ "$_io/$_sql" != Yes/Yes ] || return 0
        [ "$(date +%s)" -lt "$_end" ] || return 1
        sleep 0.2
    done
}

# copy: the primary's data, while it goes on, into $COPY; what this server has stays as it is until that is whole.
copy() {
    COPY=$DATA.hactl-seed BEFORE=$DATA.hactl-before
    # On a file system of its own nothing beside it can be renamed into it.
    ! mountpoint -q "$DATA" || COPY=$DATA/.hactl-seed BEFORE=$DATA/.hactl-before
    rm -rf "$COPY"
    mkdir -m 700 "$COPY" || fail "cannot make $COPY"
    echo "copying the data of $DONOR"
    { peer mariadb-backup 2>"$R/donor"; echo $? >"$R/donor.status"; } | mbstream -x -C "$COPY"
    _rc=$?
    read -r _donor <"$R/donor.status"
    if [ "$_rc$_donor" != 00 ] || ! grep -q 'completed OK!' "$R/donor"; then
        grep -v '^\[00\]' "$R/donor" | tail -n 8
        tail -n 3 "$R/donor"
        rm -rf "$COPY"
        fail "the data of $DONOR could not be copied; this server has what it had"
    fi
    du -sh "$COPY" | { read -r _size _; echo "copied $_size, preparing"; }
    if ! mariadb-backup --prepare --target-dir="$COPY" >"$R/prepare" 2>&1 || ! grep -q 'completed OK!' "$R/prepare"; then
        tail -n 8 "$R/prepare"
        rm -rf "$COPY"
        fail "the copy of $DONOR cannot be prepared; this server has what it had"
    fi
    for _info in mariadb_backup_binlog_info xtrabackup_binlog_info; do
        [ ! -f "$COPY/$_info" ] || GTID=$(awk '{ print $3 }' "$COPY/$_info" | head -n 1)
    done
    case ${GTID-} in *[!0-9,-]*) fail "the copy's position makes no sense" ;; esac
    # System tables of the same version need no upgrade. Debian's script would make them anew beside us, and when power is lost in
    # that, MariaDB logs the interrupted ALTER as a transaction of this server's own (seen with 10.11.19).
    for _info in mariadb_backup_info xtrabackup_info; do
        [ ! -f "$COPY/$_info" ] || _version=$(sed -n 's/^server_version = \([0-9.]*-MariaDB\).*/\1/p' "$COPY/$_info" | head -n 1)
    done
    case "$(mariadbd --version)" in
    *" ${_version:-unknown}-"* | *" ${_version:-unknown} "*)
        for _info in mysql_upgrade_info mariadb_upgrade_info; do printf '%s\n' "$_version" >"$COPY/$_info"; done
        ;;
    esac
    printf '%s\n' "${GTID-}" >"$COPY/hactl-seeded" && : >"$COPY/hactl-unlinked" && chown -R mysql:mysql "$COPY" &&
        sync || fail "cannot finish the copy"
}

# swap: the copy takes the place of the data, which are kept when there is anything in them.
swap() {
    systemctl stop mariadb.service || fail 'cannot stop MariaDB'
    : >"$DATA/hactl-seeding" || fail "cannot write $DATA"
    rm -rf "$BEFORE"
    mkdir -m 700 "$BEFORE" "$BEFORE/data" "$BEFORE/logs" || fail "cannot make $BEFORE"
    find "$DATA" -mindepth 1 -maxdepth 1 ! -name hactl-seeding ! -name '.hactl-*' ! -name lost+found \
        -exec mv -t "$BEFORE/data" -- {} + || fail "cannot move the old data to $BEFORE"
    find "$LOGS" -maxdepth 1 -name 'mariadb-*bin.*' -exec mv -t "$BEFORE/logs" -- {} +
    find "$COPY" -mindepth 1 -maxdepth 1 -exec mv -t "$DATA" -- {} + || fail "cannot move the copy to $DATA"
    chown mysql:mysql "$DATA" && sync
    rm -f "$DATA/hactl-seeding"
    rmdir "$COPY"
    # Of a server that never held anything, and of one whose data the primary has, too, nothing is worth its room.
    [ "$KEEP_BEFORE" = 1 ] || rm -rf "$BEFORE"
    [ "$KEEP_BEFORE" = 0 ] || echo "what it had before is in $BEFORE"
    systemctl reset-failed mariadb.service 2>/dev/null
    systemctl start mariadb.service || { unit_log mariadb.service; fail 'MariaDB does not start with the copy'; }
}

# point: at the primary, from where this server is.
point() {
    if [ -e "$DATA/hactl-unlinked" ]; then
        read -r GTID <"$DATA/hactl-seeded"
        case $GTID in *[!0-9,-]*) fail "$DATA/hactl-seeded makes no sense" ;; esac
        sql -e "STOP ALL SLAVES; RESET SLAVE ALL; RESET MASTER; SET GLOBAL gtid_slave_pos='$GTID'" 2>"$R/sql" ||
            { cat "$R/sql"; fail 'cannot set the position of the copy'; }
    else
        sql -e 'STOP ALL SLAVES' 2>"$R/sql" || { cat "$R/sql"; fail 'cannot stop the replication'; }
    fi
    { cat "$LINK"; printf ';\nSTART SLAVE;\n'; } | sql 2>"$R/sql" || { cat "$R/sql"; fail 'cannot point it at the primary'; }
    rm -f "$DATA/hactl-unlinked"
}

complain() {
    printf 'receiving: %s, applying: %s\n' "$(link Slave_IO_Running)" "$(link Slave_SQL_Running)"
    link Last_IO_Error
    link Last_SQL_Error
    fail "it does not follow $DONOR"
}

settled() {
    follows 60 && return 0
    [ $? = 2 ] || complain
    [ "$1" = mend ] || complain
    link Last_SQL_Error
    echo "what is here does not fit what $DONOR sends: a new copy is taken"
    KEEP_BEFORE=1
    copy && swap && point && { follows 60 || complain; }
}

# virgin: it never held anything.
virgin() {
    _logged=$(sql -e 'SELECT CONCAT(@@global.gtid_binlog_state, @@global.gtid_slave_pos)') || fail 'MariaDB does not answer'
    _own=$(sql -e "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')")
    [ -z "$_logged" ] && [ "$_own" = 0 ]
}

case $MODE in
    seed) copy && swap && point && settled no ;;
    follow) point && settled mend ;;
    mend)
        if [ -n "$(link Master_Host)" ]; then
            sql -e 'START ALL SLAVES' 2>/dev/null
            settled mend
        elif [ -e "$DATA/hactl-unlinked" ]; then
            point && settled mend
        elif virgin; then
            copy && swap && point && settled no
        else
            # It holds data and follows nobody: only `hactl rejoin` may decide about that.
            same
        fi
        ;;
esac
