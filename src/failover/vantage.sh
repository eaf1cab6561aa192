# How this host sees the databases, a line for each look: `greeting NAME answers|closes|refuses|silent` is how far a connection
# to MariaDB itself comes, `check NAME STATUS` what the host's own check says of its part (200: it takes the writes).
# Reads only. Arguments: NAME ADDRESS PORT CHECK_PORT, again and again. Nobody can write meanwhile: each process is time, so
# they are few.
LOOK='
exec 3<>"/dev/tcp/$2/$3"
read -r -N 1 -u 3 _ || { printf "greeting %s closes\n" "$1"; exit; }
printf "greeting %s answers\n" "$1"
exec 4<>"/dev/tcp/$2/$4" && printf "GET /writer HTTP/1.0\r\n\r\n" >&4 && read -r -u 4 _ code _
printf "check %s %s\n" "$1" "${code:-none}"
'
# look SECONDS NAME ADDRESS PORT CHECK_PORT: gives $_said; fails when it is not all that there is to say.
look() {
    _for=$1
    shift
    _said=$(LC_ALL=C timeout "$_for" bash -c "$LOOK" look "$@" 2>&1) || return 1
    case $_said in greeting* | *refused*) return 0 ;; *) return 1 ;; esac
}
tell() {
    case $_said in
    greeting*) printf '%s\n' "$_said" ;;
    *refused*) printf 'greeting %s refuses\n' "$1" ;;
    *) printf 'greeting %s silent\n' "$1" ;;
    esac
}
# Heartbeats come every second from a primary that a replica still hears.
beats() {
    [ -d /var/lib/mysql/mysql ] || return 0
    timeout 2 mariadb --no-defaults --skip-ssl --connect-timeout=2 -NB -e "SHOW GLOBAL STATUS LIKE 'Slave_received_heartbeats'" 2>/dev/null |
        sed 's/^[^0-9]*\([0-9]*\)$/beats \1/'
}
# Of one that is silent, or slow, it matters whether it is still heard.
patient() {
    look 0.4 "$@" || { beats; look 2 "$@" || :; tell "$1"; beats; return; }
    tell "$1"
}
while [ $# -ge 4 ]; do
    patient "$1" "$2" "$3" "$4" &
    shift 4
done
wait
