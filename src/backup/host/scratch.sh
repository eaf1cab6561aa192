
# ---- a throw-away server --------------------------------------------------------------------------------------------

S=$DATA.hactl-scratch

ms() { date +%s%3N; }
# step TEXT: how long what was done since the last one took.
step() {
    _now=$(ms)
    awk -v ms=$((_now - clock)) -v text="$1" 'BEGIN { printf "step %.1f s  %s\n", ms / 1000, text }'
    clock=$_now
}

throw_away() {
    if [ -s "$S/pid" ]; then
        _pid=$(cat "$S/pid")
        kill "$_pid" 2>/dev/null
        for _i in $(seq 300); do [ -d "/proc/$_pid" ] || break; sleep 0.1; done
        [ ! -d "/proc/$_pid" ] || kill -9 "$_pid" 2>/dev/null
    fi
    rm -rf "$S"
}

scratch_sql() { mariadb --no-defaults --skip-ssl --socket="$S/socket" --batch --raw --skip-column-names "$@"; }

# fetch SNAPSHOT SHA FOLDER: unpacks a stream there, if it is the one that was taken.
fetch() {
    mkdir "$3" && rm -f "$T/pipe" && mkfifo "$T/pipe"
    sha256sum <"$T/pipe" >"$T/sha" &
    _sum=$!
    : >"$T/err"
    # restic asks for a piece that is too short again and again, for a minute; it gets no longer.
    (
        while sleep 1; do
            [ "$(grep -c 'unexpected EOF' "$T/err")" -ge 3 ] || continue
            pkill -P "$(cat "$T/reader")"
            break
        done
    ) >/dev/null 2>&1 &
    _watch=$!
    {
        restic_ dump "$1" /db.mbs 2>"$T/err" &
        echo $! >"$T/reader"
        wait $!
        echo $? >"$T/producer"
    } | tee "$T/pipe" | mbstream -x -C "$3" 2>"$T/unpack"
    _unpacked=$?
    kill "$_watch" 2>/dev/null
    wait "$_sum" "$_watch"
    [ "$(cat "$T/producer")" = 0 ] || fail "REFUSED: the backup cannot be read: $(last "$T/err")"
    [ "$(cut -d ' ' -f 1 <"$T/sha")" = "$2" ] || fail "REFUSED: the backup is not the one that was taken: its checksum differs"
    [ "$_unpacked" = 0 ] || fail "REFUSED: the backup cannot be unpacked: $(last "$T/unpack")"
}

prepared() {
    grep -q 'completed OK!' "$T/prepare" || fail "REFUSED: the backup cannot be prepared: $(last "$T/prepare")"
}

# What standard input says, a line each:
#   full SNAPSHOT SHA · incremental SNAPSHOT SHA · size BYTES · gtid POSITION · canary ID SUM
#   log SNAPSHOT FILE (in order) · stop UTC-TIME · to POSITION
# `keep`: what was made stays, stopped, ready to take the place of the data.
scratch() {
    cat >"$T/wanted"
    alone scratch 5
    use "$1"
    keep=${2-}
    throw_away
    trap 'throw_away; rm -rf "$T"' EXIT
    wanted() { sed -n "s/^$1 //p" "$T/wanted"; }
    start=$(ms) clock=$(ms)
    needs=$(($(wanted size) / 1024 * 5 / 4 + 300000))
    free=$(df -Pk "$(dirname "$S")" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$needs" ] || fail "$(dirname "$S") has $free KiB free, and $needs are needed"
    mkdir -m 0700 "$S" "$S/logs" "$S/binlog" "$S/tmp" || exit 1
    set -- $(wanted full)
    fetch "$1" "$2" "$S/data"
    step 'full backup read, its checksum is right'
    info=$S/data
    mariadb-backup --prepare --target-dir="$S/data" >"$T/prepare" 2>&1
    prepared
    step 'made consistent'
    set -- $(wanted incremental)
    if [ $# = 2 ]; then
        fetch "$1" "$2" "$S/incremental"
        step 'incremental backup read, its checksum is right'
        mariadb-backup --prepare --target-dir="$S/data" --incremental-dir="$S/incremental" >"$T/prepare" 2>&1
        prepared
        info=$S/incremental
        step 'changes laid over it'
    fi
    at=$(cat "$info"/xtrabackup_binlog_info "$info"/mariadb_backup_binlog_info 2>/dev/null | cut -f 3 | position)
    [ "$at" = "$(wanted gtid)" ] || fail "REFUSED: the backup ends at $at, and should at $(wanted gtid)"
    rm -rf "$S/incremental"
    rm -f "$S/data"/aria_log_control.bak "$S/data"/*.pid
    chown -R mysql:mysql "$S"
    mariadbd --defaults-file="$S/data/backup-my.cnf" --datadir="$S/data" --socket="$S/socket" --pid-file="$S/pid" \
        --user=mysql --skip-networking --skip-slave-start --event-scheduler=OFF --log-error="$S/error.log" --tmpdir="$S/tmp" \
        --log-bin="$S/binlog/b" --relay-log="$S/binlog/r" --sync-binlog=0 --server-id=1 --log-slave-updates --gtid-strict-mode=ON \
        --binlog-format=ROW --innodb-flush-log-at-trx-commit=2 --innodb-buffer-pool-size=128M --max-allowed-packet=1G \
        --skip-log-slow-query >/dev/null 2>&1 9>&- &
    for _i in $(seq 1200); do
        ! scratch_sql -e 'SELECT 1' >/dev/null 2>&1 || break
        kill -0 $! 2>/dev/null || fail "REFUSED: a server does not start with it: $(grep -i error "$S/error.log" | tail -n 1 | cut -c 1-300)"
        sleep 0.1
    done
    scratch_sql -e "SET GLOBAL gtid_binlog_state='$(say "$at" | tr + ,)'" || fail 'REFUSED: the server does not take the position'
    step 'a server started with it'
    set -- $(wanted canary)
    [ "$1" = 0 ] || [ "$(scratch_sql -e "SELECT COALESCE(MAX(id),0), SUM(CRC32(CONCAT_WS('/',id,run,at))) FROM hactl.backups WHERE id <= $1" | tr '\t' ' ')" = "$1 $2" ] ||
        fail "REFUSED: the canaries that were written before the backup are not in it"
    step "canaries up to $1 are there, with the right checksum"
    replay
    mariadb-check --no-defaults --socket="$S/socket" --all-databases --silent >"$T/check" 2>&1 || fail "REFUSED: mariadb-check: $(last "$T/check")"
    [ ! -s "$T/check" ] || fail "REFUSED: mariadb-check: $(last "$T/check")"
    tables=$(scratch_sql -e "SELECT COUNT(*) FROM information_schema.tables WHERE table_type='BASE TABLE'")
    step "mariadb-check finds nothing wrong in $tables tables"
    end=$(scratch_sql -e 'SELECT @@global.gtid_binlog_pos' | position)
    if [ -n "$keep" ]; then
        say "$end" >"$S/position"
        scratch_sql -e SHUTDOWN
        wait
        rm -rf "$S/pid" "$S/binlog" "$S/logs" "$S/tmp" "$S/socket"
        touch "$S/ready"
        trap 'rm -rf "$T"' EXIT
        step 'stopped, ready to take the place of the data'
    else
        [ -z "${DUMP:-}" ] || dump_site
        throw_away
        step 'thrown away'
    fi
    awk -v ms=$(($(ms) - start)) -v end="$end" 'BEGIN { printf "restored %.1f %s\n", ms / 1000, end }'
}

# What was logged after the backup, up to the wanted moment. Each server's logs begin where the data are by then, so what
# two servers have logged is taken once.
replay() {
    wanted log >"$T/logs"
    [ -s "$T/logs" ] || return 0
    stop=$(wanted stop)
    cut -d ' ' -f 1 "$T/logs" | uniq >"$T/order"
    while read -r snapshot <&3; do
        set -- restore "$snapshot" --target "$S/logs/$snapshot"
        files=
        for name in $(sed -n "s/^$snapshot //p" "$T/logs"); do
            set -- "$@" --include "$LOGS/$name"
            files="$files $S/logs/$snapshot$LOGS/$name"
        done
        restic_ "$@" >"$T/out" 2>"$T/err" || fail "REFUSED: binary logs cannot be read: $(last "$T/err")"
        for name in $files; do [ -s "$name" ] || fail "REFUSED: the binary log ${name##*/} is not in the backup"; done
        position=$(scratch_sql -e 'SELECT @@global.gtid_binlog_pos')
        # shellcheck disable=SC2086
        {
            TZ=UTC mariadb-binlog --no-defaults ${position:+"--start-position=$position"} ${stop:+"--stop-datetime=$stop"} $files 2>"$T/err"
            echo $? >"$T/producer"
        } | TZ=UTC scratch_sql --binary-mode --max-allowed-packet=1G >"$T/out" 2>"$T/apply"
        applied=$?
        [ "$(cat "$T/producer")" = 0 ] || [ "$applied" != 0 ] || fail "REFUSED: binary logs cannot be read: $(last "$T/err")"
        [ "$applied" = 0 ] || fail "REFUSED: binary logs cannot be applied: $(last "$T/apply")"
        rm -rf "$S/logs/$snapshot"
    done 3<"$T/order"
    step "binary logs applied${stop:+, up to $stop UTC}: $(wc -l <"$T/logs")"
}

# ---- restoring ------------------------------------------------------------------------------------------------------

# aside RUN: MariaDB is stopped, and what it has is kept under another name.
aside() {
    systemctl stop mariadb.service || fail 'MariaDB does not stop'
    ! pgrep -x mariadbd >/dev/null || fail 'a MariaDB runs that systemd knows nothing of'
    kept=$DATA.hactl-before-$1
    [ ! -d "$DATA" ] || [ -e "$kept" ] || mv -T "$DATA" "$kept" || fail 'the data cannot be moved aside'
    mkdir -p "$LOGS.hactl-before-$1"
    find "$LOGS" -maxdepth 1 \( -name 'mariadb-bin*' -o -name 'mariadb-relay*' \) -exec mv -t "$LOGS.hactl-before-$1" -- {} +
    say "what this host had is kept in $kept and $LOGS.hactl-before-$1"
}

# swap RUN HIGH: what scratch made takes the place of the data. HIGH: the highest number of any transaction that is known of
# the history which ends here; the new one begins far above, so that whoever has the old one cannot pass for a follower.
swap() {
    alone scratch 60
    if [ -d "$S/data" ]; then
        [ -e "$S/ready" ] || fail 'what was restored is not whole'
        high=$(sql 'SELECT @@global.gtid_current_pos' 2>/dev/null | tr ',' '\n' | awk -F- '$3 > m { m = $3 } END { printf "%.0f", m }')
        [ "${high:-0}" -gt "$2" ] || high=$2
        say "$high" >"$S/high"
        aside "$1"
        cp "$S/position" "$S/high" "$S/data/"
        mv -T "$S/data" "$DATA" || fail 'the restored data cannot be moved to their place'
    fi
    [ -e "$DATA/high" ] || fail 'nothing was restored here'
    high=$(cat "$DATA/high") at=$(tr + , <"$DATA/position")
    systemctl start mariadb.service || fail 'MariaDB does not start with the restored data'
    sql "STOP ALL SLAVES; SET GLOBAL read_only=ON; RESET MASTER" || exit 1
    sql 'RESET SLAVE ALL' 2>/dev/null || :
    sql "SET GLOBAL gtid_slave_pos=''; SET GLOBAL gtid_binlog_state='$at'" || fail 'the position cannot be set'
    # Not one transaction may have a number that one of the old history has. The number is that of the next transaction of the
    # session, which may be any of these: a table that is there makes none.
    begins=$((high + 1000000)) domain=$(say "$at" | cut -d , -f 1 | cut -d - -f 1)
    kept=$(say "$at" | tr ',' '\n' | domain=$domain awk -F- '$1 == ENVIRON["domain"] && $3 > m { m = $3 } END { printf "%.0f", m }')
    sql "SET SESSION gtid_domain_id=$domain, gtid_seq_no=$begins;
        CREATE TABLE IF NOT EXISTS hactl.timeline (id BIGINT AUTO_INCREMENT PRIMARY KEY, run VARCHAR(80) NOT NULL, at DATETIME NOT NULL) ENGINE=InnoDB;
        SET SESSION gtid_seq_no=$((begins + 1));
        CREATE TABLE IF NOT EXISTS hactl.given_up (run VARCHAR(80) PRIMARY KEY, domain INT UNSIGNED NOT NULL, kept BIGINT UNSIGNED NOT NULL, begins BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB;
        SET SESSION gtid_seq_no=$((begins + 2));
        START TRANSACTION;
        INSERT INTO hactl.timeline (run, at) VALUES ('$1', UTC_TIMESTAMP());
        INSERT INTO hactl.given_up (run, domain, kept, begins) VALUES ('$1', $domain, $kept, $begins);
        COMMIT" || fail 'the new history cannot be begun'
    sql 'SELECT @@global.gtid_binlog_pos' | grep -qE -- "-$((begins + 2))(,|$)" || fail 'the new history is not told from the old one'
    sql 'SET GLOBAL read_only=OFF' || exit 1
    rm -rf "$S" "$STATE"/*.shipped "$STATE/began"
    rm -f "$DATA/high" "$DATA/position"
    say "restored up to $at"
}
