# What this server has and the primary never had, as SQL, for people to look at. $COMMON: the last position that both have.
to=/var/lib/hactl/rejoin
mkdir -p -m 700 "$to"
cd /var/log/mysql
mariadb-binlog --start-position="$COMMON" $(ls -1 | grep '^mariadb-bin\.[0-9]*$') >"$to/$PLAN.sql" 2>"$to/$PLAN.err" || :
echo "saved in $to/$PLAN.sql"
