# This server applies what it has received, so that another can get it from its log. $UNTIL: up to there; $PATIENCE: seconds.
sql() { mariadb --no-defaults --skip-ssl --connect-timeout=5 --batch --raw --skip-column-names "$@"; }
refuse() { printf '%s\n' "$*" >&2; exit 1; }
state=$(mariadb --no-defaults --skip-ssl --connect-timeout=5 -E -e 'SHOW SLAVE STATUS') || refuse 'MariaDB does not answer'
of() { printf '%s\n' "$state" | sed -n "s/^ *$1: //p" | head -n 1; }
# The applying thread must never start when both stand still: what was received would be thrown away (facts/ha.md 1.5).
if [ "$(of Slave_SQL_Running)" != Yes ]; then
    case $(of Slave_IO_Running) in
    Yes | Connecting | Preparing) sql -e 'START SLAVE SQL_THREAD' ;;
    *) refuse 'neither of its threads runs: what it received and did not apply cannot be given' ;;
    esac
fi
[ "$(sql -e "SELECT MASTER_GTID_WAIT('$UNTIL', $PATIENCE)")" = 0 ] || refuse "it has not applied what it received: $(of Last_SQL_Error)"
echo "has applied all up to $UNTIL"
