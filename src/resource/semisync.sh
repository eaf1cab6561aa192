# Switched on, then tried with a write: it is in force only after a replica acknowledged one (facts/ha.md 1.6).
in_force() {
    _state=$(mariadb --no-defaults --skip-ssl -N -e "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='RPL_SEMI_SYNC_MASTER_STATUS'")
    [ "$_state" = ON ]
}
clients() {
    mariadb --no-defaults --skip-ssl -N -e "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='RPL_SEMI_SYNC_MASTER_CLIENTS'"
}
none='no replica takes part in semi-synchronous replication; it stays off, so that writes do not wait'
followers() {
    mariadb --no-defaults --skip-ssl -N -e "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'"
}
# A write before a replica takes part would wait for the whole timeout, so it is not even switched on before one receives.
_end=$(($(date +%s) + 30))
until [ "$(followers)" -gt 0 ]; do
    [ "$(date +%s)" -lt "$_end" ] || fail "$none"
    sleep 0.2
done
mariadb --no-defaults --skip-ssl -e 'SET GLOBAL rpl_semi_sync_master_enabled=ON' || fail 'MariaDB refused'
until [ "$(clients)" -gt 0 ]; do
    if [ "$(date +%s)" -ge "$_end" ]; then
        mariadb --no-defaults --skip-ssl -e 'SET GLOBAL rpl_semi_sync_master_enabled=OFF'
        fail "$none"
    fi
    sleep 0.2
done
mariadb --no-defaults --skip-ssl <<'SQL' || fail 'the write failed'
CREATE DATABASE IF NOT EXISTS hactl;
CREATE TABLE IF NOT EXISTS hactl.canary (id INT PRIMARY KEY, at TIMESTAMP(6) NOT NULL);
REPLACE INTO hactl.canary VALUES (1, NOW(6));
SQL
_end=$(($(date +%s) + 10))
until in_force; do
    [ "$(date +%s)" -lt "$_end" ] || fail 'no replica acknowledged the write'
    sleep 0.2
done
