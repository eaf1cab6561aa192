# An old primary comes back, closed: what nobody acknowledged is cut off its log in the first start (facts/ha.md 1.6), which
# is why it must not have started in any other way.
sql() { mariadb --no-defaults --skip-ssl --connect-timeout=5 --batch --raw --skip-column-names "$@"; }
answers() { sql -e 'SELECT 1' >/dev/null 2>&1; }
RUNTIME=/run/systemd/system/mariadb.service.d
# The others say still that its place was taken. One that was cut off may be ending by itself just now (the gate that `apply`
# made): that is waited for, since it would end what is started here.
(flock -w 30 9 && : >/run/hactl-rejoins) 9>>/run/hactl-gate || { echo 'the gate is at work and does not end' >&2; exit 1; }
# Held off still when it does not come back, by whatever was written before.
held() {
    [ "$1" != 0 ] || return 0
    rm -f "$RUNTIME/70-hactl-rejoin.conf" /run/hactl-rejoins
    [ -e /var/lib/hactl/fenced ] || printf 'hactl rejoin did not bring it back\n' >/var/lib/hactl/fenced
}
trap 'held $?' EXIT
if pgrep -x mariadbd >/dev/null; then
    # One that was cut off and never ended: what waits for an acknowledgement must not be committed now.
    if [ "$(sql -e 'SELECT @@global.read_only')" != 1 ]; then
        systemctl kill -s KILL mariadb.service
        while pgrep -x mariadbd >/dev/null; do sleep 0.1; done
        systemctl stop mariadb.service
    fi
fi
if ! pgrep -x mariadbd >/dev/null; then
    mkdir -p "$RUNTIME"
    printf '[Service]\nEnvironment="MYSQLD_OPTS=--init-rpl-role=SLAVE --skip-slave-start"\n' >"$RUNTIME/70-hactl-rejoin.conf"
    rm -f /var/lib/hactl/fenced
    systemctl daemon-reload
    systemctl reset-failed mariadb.service 2>/dev/null || :
    systemctl start mariadb.service || { journalctl -u mariadb.service -n 15 -o cat --no-pager >&2; exit 1; }
    rm -f "$RUNTIME/70-hactl-rejoin.conf"
    systemctl daemon-reload
fi
for try in 1 2 3 4 5 6 7 8 9 10; do
    ! answers || break
    sleep 0.5
done
answers || { echo 'MariaDB does not answer' >&2; exit 1; }
[ "$(sql -e 'SELECT @@global.read_only')" = 1 ] || { echo 'it takes writes' >&2; exit 1; }
rm -f /var/lib/hactl/fenced
echo "runs again, closed, at $(sql -e 'SELECT @@global.gtid_binlog_pos')"
