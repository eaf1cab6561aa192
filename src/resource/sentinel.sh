# $SET: the set. $WANTED: address and port of its leader. $QUORUM. $GONE: addresses to forget. $PASSWORD: the file with the
# set's password. $WATCH: the file with the commands that make a sentinel watch the set.

# lists ADDRESS: whether the leader counts it among its replicas. One that vanished without a word stays there for a while,
# and every sentinel would learn of it again.
lists() {
    (
        redis_password "$PASSWORD"
        timeout 5 redis-cli -h "${WANTED% *}" -p "${WANTED#* }" INFO replication 2>/dev/null | grep -qF "ip=$1,"
    )
}
field() { redis SENTINEL MASTER "$SET" | sed -n "/^$1\$/{n;p;}"; }

if [ "$(field ip) $(field port)" != "$WANTED" ]; then
    redis SENTINEL REMOVE "$SET" >/dev/null
    # Answers that are no OK may quote the command, and are not shown.
    ! redis <"$WATCH" | grep -qv '^OK$' || fail "the sentinel refused to watch $WANTED"
elif [ -n "$GONE" ]; then
    _end=$(($(date +%s) + 60))
    # Words of ours: addresses.
    # shellcheck disable=SC2086
    for _address in $GONE; do
        while lists "$_address" && [ "$(date +%s)" -lt "$_end" ]; do sleep 0.5; done
    done
    # It forgets all replicas and sentinels, and finds those that are there within seconds. Until then it cannot agree
    # with anybody, and promotes nobody.
    redis SENTINEL RESET "$SET" >/dev/null
fi
[ "$(field quorum)" = "$QUORUM" ] || [ "$(redis SENTINEL SET "$SET" quorum "$QUORUM")" = OK ] ||
    fail "the sentinel refused the quorum $QUORUM"
# The others are found by what they say through the leader, every two seconds.
_end=$(($(date +%s) + 30))
until _said=$(redis SENTINEL CKQUORUM "$SET") && [ "${_said%% *}" = OK ]; do
    if [ "$(date +%s)" -ge "$_end" ]; then
        # Hosts that are down are no failure of this one; `status` tells of them.
        printf 'for now nobody can be promoted: %s\n' "$_said"
        break
    fi
    sleep 0.2
done
