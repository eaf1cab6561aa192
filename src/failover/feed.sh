# Before this server leads it gets what $FROM_NAME has and it lacks. $UNTIL: up to there; $PATIENCE: seconds. $R/link:
# CHANGE MASTER to that one. What it received itself is applied already (drain.sh).
mkdir -p -m 700 /var/lib/hactl/failover
printf 'fed_for %s\nfed_from %s\n' "$OLD_NAME" "$FROM_NAME" >/var/lib/hactl/failover/.feeds~
sync /var/lib/hactl/failover/.feeds~
mv -fT /var/lib/hactl/failover/.feeds~ /var/lib/hactl/failover/feeds
# has SECONDS: whether it has applied all up to there, within that time.
has() { [ "$(sql -e "SELECT MASTER_GTID_WAIT('$UNTIL', $1)")" = 0 ]; }
if ! has 0.1; then
    sql <"$R/link" || { rm -f "$R/link"; refuse "it cannot be pointed at $FROM_NAME"; }
    rm -f "$R/link"
    sql -e 'START SLAVE'
    end=$(($(date +%s) + PATIENCE))
    until has 1; do
        state=$(mariadb --no-defaults --skip-ssl --connect-timeout=5 -E -e 'SHOW SLAVE STATUS')
        # One that does not connect yet tries again; what was refused stays refused.
        case $(of Slave_IO_Running)/$(of Slave_SQL_Running) in No/* | */No) stopped=1 ;; *) stopped= ;; esac
        if [ -n "$stopped" ] || [ "$(date +%s)" -ge "$end" ]; then
            has 0.1 || refuse "$FROM_NAME does not give what it has; nothing was opened: $(of Last_IO_Error) $(of Last_SQL_Error)"
        fi
    done
    sql -e 'STOP ALL SLAVES; RESET SLAVE ALL'
fi
rm -f "$R/link"
echo "has now, too, what only $FROM_NAME had, up to $UNTIL"
