# Leads visitors past this host while what follows interrupts what serves them: new connections from elsewhere are refused,
# whereupon a load balancer asks the next host, and requests under way are answered. $PORTS: the visitors'; $APP: gunicorn's;
# $PATIENCE_OUT: longest wait; another_serves, serves: tests.
# The rules are the kernel's and gone with a boot; should nobody take them away, they end by themselves after an hour.
welcome() {
    _status=$?
    if [ "$_status" = 0 ] || (serves) >/dev/null 2>&1; then
        nft delete table inet hactl_drain
    else
        echo 'it does not serve: new visitors stay away from it'
    fi
}

# Requests that gunicorn works on, and whoever else is connected to nginx from elsewhere.
requests() { ss -Htn state established "( sport = :$APP )" | grep -q .; }
visitors() {
    for _port in $PORTS; do
        ss -Htn state established "( sport = :$_port )" | awk '$3 != $4 && $4 !~ /^(127\.|\[::1\])/' | grep -q . && return 0
    done
    return 1
}

drain() {
    _tries=3
    until (another_serves) >"$R/others" 2>&1; do
        _tries=$((_tries - 1))
        if [ "$_tries" = 0 ]; then
            echo 'no other host serves the site now: visitors keep coming'
            return
        fi
        sleep 0.5
    done
    _ports=
    for _port in $PORTS; do _ports="$_ports${_ports:+, }$_port timeout 1h"; done
    nft -f - <<NFT || fail 'visitors cannot be led to other hosts: nft refused the rules'
table inet hactl_drain
delete table inet hactl_drain
table inet hactl_drain {
    set ports { type inet_service; flags timeout; elements = { $_ports }; }
    chain input {
        type filter hook input priority -10; policy accept;
        iif lo accept
        tcp dport @ports tcp flags & (fin | syn | rst | ack) == syn reject with tcp reset
    }
}
NFT
    trap welcome EXIT
    trap 'exit 1' TERM
    _from=$(date +%s)
    while [ "$(($(date +%s) - _from))" -lt "$PATIENCE_OUT" ]; do
        # A connection that nobody uses any more, or a websocket, is not waited for long.
        if ! requests && { ! visitors || [ "$(($(date +%s) - _from))" -ge 5 ]; }; then break; fi
        sleep 0.1
    done
    echo 'new visitors are led to other hosts'
}

drain
