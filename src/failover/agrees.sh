# It is where its log ends.
sql() { mariadb --no-defaults --skip-ssl --connect-timeout=5 --batch --raw --skip-column-names "$@"; }
[ "$(sql -e 'SELECT @@global.read_only')" = 1 ] || { echo 'it takes writes' >&2; exit 1; }
sql -e 'STOP ALL SLAVES; RESET SLAVE ALL'
now=$(sql -e 'SELECT @@global.gtid_binlog_pos')
case $now in *[!0-9,-]*) echo "a position that makes no sense: $now" >&2; exit 1 ;; esac
[ -z "$now" ] || sql -e "SET GLOBAL gtid_slave_pos='$now'"
