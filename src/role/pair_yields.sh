# What serves and works ends here, and does not start at a boot: the other host takes over.
systemctl disable --quiet nginx.service supervisor.service
systemctl stop nginx.service
# Without a database a job comes to nothing, however long it gets.
timeout "$JOBS_END" systemctl stop supervisor.service || {
    systemctl kill -s KILL supervisor.service
    systemctl stop supervisor.service
}
echo 'serves no more'
# What Redis took is on the other host before that one leads. One that does not answer has nothing to pass on.
passed_on() {
    _end=$(($(date +%s) + 5))
    while [ "$(date +%s)" -lt "$_end" ]; do
        _said=$(redis INFO replication | tr -d '\r')
        _has=$(printf '%s\n' "$_said" | sed -n 's/^master_repl_offset://p')
        ! printf '%s\n' "$_said" | grep -q "^slave0:.*state=online,offset=$_has," || return 0
        sleep 0.1
    done
    echo "$1: nobody says that the other host has all of it"
}
