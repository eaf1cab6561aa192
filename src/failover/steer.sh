# Applications of this host are led to $NEW at once; HAProxy's own checks would find it within a second.
ask() { printf '%s\n' "$1" | timeout 2 socat - UNIX-CONNECT:/run/haproxy/admin.sock; }
[ -S /run/haproxy/admin.sock ] || { echo 'HAProxy does not run here' >&2; exit 1; }
[ "$OLD" = "$NEW" ] || ask "set server mariadb_writer/$OLD health down" >/dev/null
ask "set server mariadb_writer/$NEW health up" >/dev/null
echo "leads to $NEW"
