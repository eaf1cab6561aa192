# The primary stops taking writes; what is under way ends or is refused. Should anything fail it takes them again.
sql() { mariadb --no-defaults --connect-timeout=5 --batch --raw --skip-column-names "$@"; }
reopen() { sql -e 'SET GLOBAL read_only=OFF; SET GLOBAL event_scheduler=ON'; }
trap '[ $? = 0 ] || reopen' EXIT
sql -e 'SET GLOBAL event_scheduler=OFF'
closed=
for try in 1 2 3; do
    if sql -e 'SET SESSION lock_wait_timeout=1; SET GLOBAL read_only=ON' 2>"$R/closing"; then
        closed=1
        break
    fi
    # Somebody holds a lock on whole tables.
    sql -e "SELECT CONCAT('KILL ', ID, ';') FROM information_schema.PROCESSLIST WHERE USER NOT IN ('root', 'system user', 'event_scheduler', 'hactl_replica') AND COMMAND <> 'Binlog Dump'" | sql --force 2>/dev/null || :
done
[ -n "$closed" ] || { cat "$R/closing" >&2; exit 1; }
# Connections that stay would meet a server that takes no writes: they go, and their clients come back through the endpoint.
sql -e "SELECT CONCAT('KILL ', ID, ';') FROM information_schema.PROCESSLIST WHERE USER NOT IN ('root', 'system user', 'event_scheduler', 'hactl_replica') AND COMMAND <> 'Binlog Dump'" | sql --force 2>/dev/null || :
echo "takes no writes any more, at $(sql -e 'SELECT @@global.gtid_binlog_pos')"
