# This server takes over from one that is dead, and has all that it has received (drain.sh). $RESCUE: 1 when the old primary's
# disk can be asked for what nobody received.

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
[ "$FENCE" = itself ] || cat >/var/lib/hactl/failover/moved <<MOVED
$MOVED
moved_at $(date +%s)
MOVED
sync /var/lib/hactl/failover/"$PLAN".open
sql -e 'SET GLOBAL read_only=OFF; SET GLOBAL event_scheduler=ON'
rm -f /var/lib/hactl/failover/feeds
echo "takes the writes, from $binlog on"
