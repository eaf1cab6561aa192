# $LEADER, $LEADER_PORT: whom it is to follow. $MODE: point, check (it may do so already).
# said FIELD: of its part in the set.
said() { redis INFO replication | tr -d '\r' | sed -n "s/^$1://p"; }
follows() { [ "$(said master_host) $(said master_port)" = "$LEADER $LEADER_PORT" ]; }

follows && [ "$MODE" = check ] && [ "$(said master_link_status)" = up ] && same
if ! follows; then
    _said=$(redis REPLICAOF "$LEADER" "$LEADER_PORT")
    [ "$_said" = OK ] || [ "$_said" = 'OK Already connected to specified master' ] || fail "Redis refused: $_said"
    # Its own file says whom it follows after a restart.
    _said=$(redis CONFIG REWRITE)
    [ "$_said" = OK ] || fail "Redis cannot write its own file: $_said"
fi
# A copy that grows is waited for; a leader that does not answer is not.
_end=$(($(date +%s) + PATIENCE)) _idle=$(($(date +%s) + 60))
until [ "$(said master_link_status)" = up ]; do
    _now=$(date +%s)
    [ "$(said master_sync_in_progress)" != 1 ] || _idle=$((_now + 60))
    if [ "$_now" -ge "$_idle" ] || [ "$_now" -ge "$_end" ]; then
        fail "it does not reach $LEADER:$LEADER_PORT: the link is $(said master_link_status)"
    fi
    sleep 0.2
done
