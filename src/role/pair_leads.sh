# Redis of this host leads.
leads() {
    ! redis INFO replication | tr -d '\r' | grep -qx role:master || { echo "$1 leads already"; return 0; }
    _said=$(redis REPLICAOF NO ONE)
    [ "$_said" = OK ] || { echo "$1: Redis refused: $_said" >&2; return 1; }
    # Its own file says what it is after a restart.
    _said=$(redis CONFIG REWRITE)
    [ "$_said" = OK ] || { echo "$1: Redis cannot write its own file: $_said" >&2; return 1; }
    echo "$1 leads"
}
