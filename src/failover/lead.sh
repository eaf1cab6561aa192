# This server takes over from one that is dead. $OLD: the old primary's address; $OLD_NAME; $PATIENCE: seconds for what it
# has received. $RESCUE: 1 when the old primary's disk can be asked for what nobody received. peer COMMAND asks its host.
# Nobody can write meanwhile: each client that starts is time, so it is few.
sql() { mariadb --no-defaults --connect-timeout=5 --batch --raw --skip-column-names "$@"; }
refuse() { printf '%s\n' "$*" >&2; exit 1; }

state=$(mariadb --no-defaults --connect-timeout=5 -E -e 'SELECT @@global.read_only AS closed; SHOW SLAVE STATUS') ||
    refuse 'MariaDB does not answer'
# of FIELD: of its link, as it was just now.
of() { printf '%s\n' "$state" | sed -n "s/^ *$1: //p" | head -n 1; }
if [ "$(of closed)" = 0 ] && [ -z "$(of Master_Host)" ]; then
    echo 'it takes the writes already'
    exit 0
fi

# positions: where it is after what is on standard input, one a line: all that it has, what it applied, what it logged.
positions() {
    cat >"$R/do"
    printf '%s\n' 'SELECT @@global.gtid_current_pos;' 'SELECT @@global.gtid_slave_pos;' 'SELECT @@global.gtid_binlog_pos;' >>"$R/do"
    sql <"$R/do" >"$R/at" && for _at in current slave binlog; do
        IFS= read -r _value || _value=
        case $_value in *[!0-9,-]*) refuse "a position that makes no sense: $_value" ;; esac
        eval "$_at=\$_value"
    done <"$R/at"
}

# The applying thread must never start when both stand still: what was received and not applied would be thrown away
# (facts/ha.md 1.5). The receiving one still tries to connect, so it runs.
replay=
if [ -n "$(of Master_Host)" ] && [ "$(of Slave_SQL_Running)" != Yes ]; then
    case $(of Slave_IO_Running) in
    Yes | Connecting | Preparing) sql -e 'START SLAVE SQL_THREAD' ;;
    *) replay=1 ;;
    esac
fi
wanted=$(of Gtid_IO_Pos)
case $wanted in *[!0-9,-]*) refuse "a position that makes no sense: $wanted" ;; esac
if [ -n "$replay" ]; then
    # What was received is in the saved relay logs, and is played from there.
    positions <<'SQL' || refuse 'MariaDB refused'
STOP ALL SLAVES;
RESET SLAVE ALL;
SQL
    set -- /var/log/mysql/hactl-saved/"$PLAN"/mariadb-relay-bin.[0-9]*
    [ ! -f "$1" ] || mariadb-binlog --start-position="$slave" "$@" 2>/dev/null | sql ||
        refuse 'what was received cannot be applied from the saved relay logs'
    positions </dev/null || refuse 'MariaDB does not answer'
else
    positions <<SQL || refuse 'it did not apply what it received; nothing was opened'
DELIMITER //
BEGIN NOT ATOMIC
    IF '$wanted' <> '' AND MASTER_GTID_WAIT('$wanted', $PATIENCE) <> 0 THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'it has not applied what it received; nothing was opened';
    END IF;
END//
DELIMITER ;
STOP ALL SLAVES;
RESET SLAVE ALL;
SQL
fi

# All that the old primary logged, when it can be asked.
log=none
if [ "$RESCUE" = 1 ]; then
    if peer "binlog $current" >"$R/tail" 2>"$R/peer"; then
        log=read
        if grep -q '^#.*GTID [0-9]' "$R/tail"; then
            sql <"$R/tail" || refuse "what $OLD_NAME had logged and nobody received cannot be applied"
            echo "has now, too, what only $OLD_NAME had: $(grep -c '^#.*GTID [0-9]' "$R/tail") transactions"
            positions </dev/null || refuse 'MariaDB does not answer'
        fi
    else
        log=unread
        head -n 3 "$R/peer"
        echo "the log of $OLD_NAME cannot be read: what nobody received is only there"
    fi
fi
# What was replayed carries the old one's number and is in the log here, so that the log says where this server is.
if [ -n "$binlog" ] && [ "$slave" != "$binlog" ]; then
    sql -e "SET GLOBAL gtid_slave_pos='$binlog'" 2>/dev/null || :
fi

# The record comes before the first write.
mkdir -p -m 700 /var/lib/hactl/failover
printf 'plan %s\nmode %s\nold %s\nfence %s\nat %s\nlog %s\nopened %s\n' "$PLAN" "$MODE" "$OLD_NAME" "$FENCE" "$binlog" "$log" "$(date -u +%FT%TZ)" >/var/lib/hactl/failover/"$PLAN".open
sync /var/lib/hactl/failover/"$PLAN".open
sql -e 'SET GLOBAL read_only=OFF; SET GLOBAL event_scheduler=ON'
echo "takes the writes, from $binlog on"
