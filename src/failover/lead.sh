# This server takes over from one that is dead. $OLD: the old primary's address; $OLD_NAME; $PATIENCE: seconds for what it
# has received. $RESCUE: 1 when the old primary's disk can be asked for what nobody received. peer COMMAND asks its host.
sql() { mariadb --no-defaults --connect-timeout=5 --batch --raw --skip-column-names "$@"; }
link() { mariadb --no-defaults --connect-timeout=5 -E -e 'SHOW SLAVE STATUS' | sed -n "s/^ *$1: //p" | head -n 1; }
refuse() { printf '%s\n' "$*" >&2; exit 1; }

open() { [ "$(sql -e 'SELECT @@global.read_only')" = 0 ] && [ -z "$(link Master_Host)" ]; }
if open; then
    echo 'it takes the writes already'
    exit 0
fi

# The applying thread must never start when both stand still: what was received and not applied would be thrown away
# (facts/ha.md 1.5). The receiving one still tries to connect, so it runs.
if [ "$(link Slave_SQL_Running)" != Yes ]; then
    case $(link Slave_IO_Running) in
    Yes | Connecting | Preparing) sql -e 'START SLAVE SQL_THREAD' ;;
    *) [ -z "$(link Master_Host)" ] || replay=1 ;;
    esac
fi
wanted=$(link Gtid_IO_Pos)
case $wanted in *[!0-9,-]*) refuse "a position that makes no sense: $wanted" ;; esac
if [ -n "${replay-}" ]; then
    # Both stand still: what was received is in the saved relay logs, and is played from there.
    sql -e 'STOP ALL SLAVES; RESET SLAVE ALL'
    set -- /var/log/mysql/hactl-saved/"$PLAN"/mariadb-relay-bin.[0-9]*
    [ ! -f "$1" ] || mariadb-binlog --start-position="$(sql -e 'SELECT @@global.gtid_slave_pos')" "$@" 2>/dev/null | sql ||
        refuse 'what was received cannot be applied from the saved relay logs'
elif [ -n "$wanted" ]; then
    done=$(sql -e "SELECT MASTER_GTID_WAIT('$wanted', $PATIENCE)") || refuse 'MariaDB does not answer'
    [ "$done" = 0 ] || refuse "it has not applied what it received after $PATIENCE s; nothing was opened"
fi

sql -e 'STOP ALL SLAVES; RESET SLAVE ALL'
if [ "$RESCUE" = 1 ]; then
    at=$(sql -e 'SELECT @@global.gtid_current_pos')
    if peer "binlog $at" >"$R/tail" 2>"$R/peer"; then
        if grep -q '^#.*GTID [0-9]' "$R/tail"; then
            sql <"$R/tail" || refuse "what $OLD_NAME had logged and nobody received cannot be applied"
            echo "has now, too, what only $OLD_NAME had: $(grep -c '^#.*GTID [0-9]' "$R/tail") transactions"
        fi
    else
        head -n 3 "$R/peer"
        echo "the log of $OLD_NAME cannot be read: what nobody received is only there"
    fi
fi
# What was replayed carries the old one's number and is in the log here, so that the log says where this server is.
now=$(sql -e 'SELECT @@global.gtid_binlog_pos')
case $now in *[!0-9,-]*) refuse "a position that makes no sense: $now" ;; esac
if [ -n "$now" ] && [ "$(sql -e 'SELECT @@global.gtid_slave_pos')" != "$now" ]; then
    sql -e "SET GLOBAL gtid_slave_pos='$now'" 2>/dev/null || :
fi

# The record comes before the first write.
mkdir -p -m 700 /var/lib/hactl/failover
printf 'plan %s\nmode %s\nold %s %s\nat %s\nopened %s\n' "$PLAN" "$MODE" "$OLD_NAME" "$OLD" "$now" "$(date -u +%FT%TZ)" >/var/lib/hactl/failover/"$PLAN"
sync /var/lib/hactl/failover/"$PLAN"
sql -e 'SET GLOBAL read_only=OFF; SET GLOBAL event_scheduler=ON'
echo "takes the writes, from $now on"
