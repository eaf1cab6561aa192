# Keeps MariaDB of this host from taking writes until `hactl rejoin`: it is stopped, and a start finds the fence.
mkdir -p /var/lib/hactl
printf '%s\n' "$WHY" >/var/lib/hactl/.fenced~
sync /var/lib/hactl/.fenced~
mv -fT /var/lib/hactl/.fenced~ /var/lib/hactl/fenced
sync /var/lib/hactl
# Nobody waits for it: it counts as dead, and what it has not written down was acknowledged to nobody.
timeout 3 systemctl stop mariadb.service || {
    systemctl kill -s KILL mariadb.service || :
    timeout 10 systemctl stop mariadb.service || :
}
if pgrep -x mariadbd >/dev/null; then
    pkill -KILL -x mariadbd
    sleep 0.2
    ! pgrep -x mariadbd >/dev/null || { echo 'mariadbd does not end' >&2; exit 1; }
fi
echo 'MariaDB is stopped here, and does not start before hactl rejoin'
