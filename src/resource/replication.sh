# What MariaDB says of its part in the replication, a `name=value` a line. Reads only.
{
    mariadb --no-defaults --skip-ssl --connect-timeout=5 -E 2>&1 <<'SQL' || :
SHOW ALL SLAVES STATUS;
SELECT @@global.read_only AS read_only, @@global.log_bin AS log_bin, @@global.gtid_binlog_state AS binlog_state, @@global.gtid_slave_pos AS slave_pos, @@global.rpl_semi_sync_master_enabled AS semi_sync_primary;
SELECT COUNT(*) AS own_databases FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema');
SELECT LOWER(VARIABLE_NAME) AS status, VARIABLE_VALUE AS value FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN ('RPL_SEMI_SYNC_MASTER_STATUS', 'RPL_SEMI_SYNC_MASTER_CLIENTS');
SET @restores = IF(EXISTS(SELECT * FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'hactl' AND TABLE_NAME = 'given_up'), 'SELECT CONCAT_WS('' '', domain, kept, begins) AS given_up FROM hactl.given_up', 'DO 0');
EXECUTE IMMEDIATE @restores;
SQL
} | sed -n 's/^ *\(Connection_name\|Master_Host\|Master_Port\|Slave_IO_Running\|Slave_SQL_Running\|Last_IO_Errno\|Last_IO_Error\|Last_SQL_Errno\|Last_SQL_Error\|Using_Gtid\|Gtid_IO_Pos\|Seconds_Behind_Master\|Master_SSL_Allowed\|read_only\|binlog_state\|slave_pos\|semi_sync_primary\|own_databases\|log_bin\|given_up\|status\|value\): \(.\{0,400\}\).*/\1=\2/p; s/^\(ERROR .\{0,300\}\).*/error=\1/p'
if [ -r /var/lib/mysql/hactl-seeded ]; then read -r value </var/lib/mysql/hactl-seeded; printf 'seeded=%s\n' "$value"; fi
[ -d /var/lib/mysql/mysql ] || printf 'no_data=1\n'
if [ -r /var/lib/hactl/fenced ]; then read -r value </var/lib/hactl/fenced; printf 'fenced=%s\n' "$value"; fi
for name in replaced returned; do [ ! -r "/var/lib/hactl/$name" ] || sed "s/^/$name=/" "/var/lib/hactl/$name"; done
