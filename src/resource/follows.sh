# Whether this replica follows now: what must be so again after a restart. For the health test.
FOLLOWED=no
mariadb --no-defaults --skip-ssl --connect-timeout=5 -E -e 'SHOW SLAVE STATUS' >"$R/link" 2>/dev/null || :
! grep -q 'Slave_IO_Running: Yes' "$R/link" || ! grep -q 'Slave_SQL_Running: Yes' "$R/link" || FOLLOWED=yes
export FOLLOWED R
