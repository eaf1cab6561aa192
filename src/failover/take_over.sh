# The primary has handed over, and this server takes the writes when it has all. $OLD_NAME, $PATIENCE: seconds for what it has
# received; $MODE. Standard input: MariaDB's options for asking the old primary. Nobody can write meanwhile: each client that
# starts is time, so it is few.
sql() { mariadb --no-defaults --skip-ssl --connect-timeout=5 --batch --raw --skip-column-names "$@"; }
refuse() { printf '%s\n' "$*" >&2; exit 1; }
cat >"$R/old.cnf"
mariadb --defaults-file="$R/old.cnf" --batch --raw --skip-column-names >"$R/old" 2>"$R/said" \
    -e 'SELECT @@global.read_only; SELECT @@global.gtid_binlog_pos' &
# Each variable alone: in an expression a switch may be read wrong (facts/ha.md 1.4).
state=$(mariadb --no-defaults --skip-ssl --connect-timeout=5 -E -e 'SELECT @@global.read_only AS closed; SHOW SLAVE STATUS')
case $state in
*'closed: 0'*)
    case $state in *Master_Host:*) ;; *) wait; rm -f "$R/old.cnf"; echo 'it takes the writes already'; exit 0 ;; esac
    ;;
esac
wait
rm -f "$R/old.cnf"
[ "$(sed -n 1p "$R/old")" = 1 ] || refuse "$OLD_NAME does not answer, or still takes writes: $(head -n 2 "$R/said")"
wanted=$(sed -n 2p "$R/old")
case $wanted in '' | *[!0-9,-]*) refuse "a position that makes no sense: $wanted" ;; esac
# The record comes before the first write.
mkdir -p -m 700 /var/lib/hactl/failover
printf 'plan %s\nmode %s\nold %s\nfence %s\nat %s\nopened %s\n' "$PLAN" "$MODE" "$OLD_NAME" "$FENCE" "$wanted" "$(date -u +%FT%TZ)" >/var/lib/hactl/failover/"$PLAN".open
sync /var/lib/hactl/failover/"$PLAN".open
sql <<SQL || refuse "it did not take over"
DELIMITER //
BEGIN NOT ATOMIC
    IF MASTER_GTID_WAIT('$wanted', $PATIENCE) <> 0 THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'it has not applied all that the primary wrote; nothing was opened';
    END IF;
END//
DELIMITER ;
STOP ALL SLAVES;
RESET SLAVE ALL;
SET GLOBAL read_only=OFF;
SET GLOBAL event_scheduler=ON;
SQL
echo "takes the writes, from $wanted on"
