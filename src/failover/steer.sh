# Applications of this host are led to $NEW as soon as it can be; HAProxy's own checks would find it within a second.
ask() { printf '%s\n' "$1" | timeout 2 socat - UNIX-CONNECT:/run/haproxy/admin.sock; }
[ -S /run/haproxy/admin.sock ] || { echo 'HAProxy does not run here' >&2; exit 1; }
lead="set server mariadb_writer/$NEW health up"
[ "$OLD" = "$NEW" ] || lead="set server mariadb_writer/$OLD health down; $lead"
# A look of HAProxy's before the new one took the writes undoes it: it is said again until one agrees.
try=0
while [ "$try" -lt 100 ]; do
    ask "$lead; show stat mariadb_writer 4 -1" >"$R/stat"
    case $(sed -n "s/^mariadb_writer,$NEW,//p" "$R/stat" | cut -d, -f35) in
    *L7OK) echo "leads to $NEW"; exit 0 ;;
    esac
    try=$((try + 1))
    sleep 0.1
done
echo "leads to $NEW as soon as it takes the writes"
