# Keeps what this server received and logged, whatever becomes of its replication: hard links, which are made at once and
# survive what MariaDB deletes. It must come before any START, STOP or CHANGE (facts/ha.md 1.5).
# $OTHER: 1 on a server that neither led nor is to lead. What a plan that was cut off still did here may have opened it since it
# was asked: then it leads, and nobody else may.
if [ "$OTHER" = 1 ] && [ "$(mariadb --no-defaults --skip-ssl --connect-timeout=5 -N -e 'SELECT @@global.read_only' 2>/dev/null)" = 0 ]; then
    echo 'it takes the writes by now: run hactl crashplan again' >&2
    exit 1
fi
to=/var/log/mysql/hactl-saved
mkdir -p -m 700 "$to/$PLAN"
for log in /var/log/mysql/mariadb-bin.* /var/log/mysql/mariadb-relay-bin.*; do
    [ ! -f "$log" ] || ln -f "$log" "$to/$PLAN/"
done
mariadb --no-defaults --skip-ssl --connect-timeout=5 -E -e 'SHOW ALL SLAVES STATUS; SELECT @@global.gtid_slave_pos, @@global.gtid_binlog_pos, @@global.gtid_binlog_state' >"$to/$PLAN/status" 2>&1 || :
# They keep their room on the disk: those of two plans are enough.
cd "$to"
ls -1r | sed 1,2d | while read -r old; do rm -rf "./$old"; done
echo "in $to/$PLAN"
