# The primary stops taking writes; what is under way ends or is refused. Should anything fail it takes them again.
# Nobody can write until the other one takes over: each client that starts is time, so it is few.
sql() { mariadb --no-defaults --skip-ssl --connect-timeout=5 --batch --raw --skip-column-names "$@"; }
# A plan that was cut off goes on, and another one may take writes by now: this one is never opened again then.
if [ "$(sql -e 'SELECT @@global.read_only')" = 1 ]; then
    echo 'takes no writes already'
    exit 0
fi
trap '[ $? = 0 ] || sql -e "SET GLOBAL read_only=OFF; SET GLOBAL event_scheduler=ON"' EXIT
# Connections that stay would meet a server that takes no writes: they go, and their clients come back through the endpoint.
clients="SELECT CONCAT('KILL ', ID, ';') FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND USER NOT IN ('system user', 'event_scheduler', 'hactl_replica') AND COMMAND <> 'Binlog Dump'"
closed=
for try in 1 2 3; do
    if sql -e "SET GLOBAL event_scheduler=OFF; SET SESSION lock_wait_timeout=1; SET GLOBAL read_only=ON; $clients" >"$R/clients" 2>"$R/closing"; then
        closed=1
        break
    fi
    # Somebody holds a lock on whole tables.
    sql -e "$clients" | sql --force 2>/dev/null || :
done
[ -n "$closed" ] || { cat "$R/closing" >&2; exit 1; }
[ ! -s "$R/clients" ] || sql --force <"$R/clients" 2>/dev/null || :
echo 'takes no writes any more'
