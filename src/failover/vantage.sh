# How this host sees the databases, a line for each look: `check NAME STATUS` is what the host's own check says of its part
# (200: it takes the writes), `greeting NAME answers|closes|refuses|silent` how far a connection to MariaDB itself comes.
# Reads only. Arguments: NAME ADDRESS PORT CHECK_PORT, again and again.
greeting() {
    _said=$(LC_ALL=C timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1" && head -c 1 <&3 | wc -c' "$2" "$3" 2>&1)
    case $?:$_said in
    124:*) _word=silent ;;
    0:1) _word=answers ;;
    0:*) _word=closes ;;
    *refused*) _word=refuses ;;
    *) _word=silent ;;
    esac
    printf 'greeting %s %s\n' "$1" "$_word"
    [ "$_word" = answers ]
}
check() {
    _said=$(LC_ALL=C timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET /writer HTTP/1.0\r\n\r\n" >&3 && read -r _ code _ <&3 && printf "%s" "$code"' "$2" "$4" 2>/dev/null)
    printf 'check %s %s\n' "$1" "${_said:-none}"
}
# Heartbeats come every second from a primary that a replica still hears.
beats() {
    [ -d /var/lib/mysql/mysql ] || return 0
    timeout 2 mariadb --no-defaults --connect-timeout=2 -NB -e "SHOW GLOBAL STATUS LIKE 'Slave_received_heartbeats'" 2>/dev/null |
        sed 's/^[^0-9]*\([0-9]*\)$/beats \1/'
}
beats
while [ $# -ge 4 ]; do
    # What its check says of one that is dead would come late.
    { ! greeting "$1" "$2" "$3" || check "$1" "$2" "$3" "$4"; } &
    shift 4
done
wait
beats
