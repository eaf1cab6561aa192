# This server applies all that it has received, and follows nobody then. $OLD: the old primary's address; $OLD_NAME; $PATIENCE:
# seconds for what it has received. Gives $current, $slave and $binlog: where it is. peer COMMAND asks the old primary's host.
# Nobody can write meanwhile: each client that starts is time, so it is few.
sql() { mariadb --no-defaults --skip-ssl --connect-timeout=5 --batch --raw --skip-column-names "$@"; }
refuse() { printf '%s\n' "$*" >&2; exit 1; }

state=$(mariadb --no-defaults --skip-ssl --connect-timeout=5 -E -e 'SELECT @@global.read_only AS closed; SHOW SLAVE STATUS') ||
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
# Whose replica it was is known for as long as it follows nobody: the plan may be cut off before it leads.
if [ -n "$(of Master_Host)" ]; then
    mkdir -p -m 700 /var/lib/hactl/failover
    printf 'fed_for %s\nfed_from %s\n' "$OLD_NAME" "$OLD_NAME" >/var/lib/hactl/failover/.feeds~
    sync /var/lib/hactl/failover/.feeds~
    mv -fT /var/lib/hactl/failover/.feeds~ /var/lib/hactl/failover/feeds
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
