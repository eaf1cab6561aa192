# What the steps of the role certbot do; they set $SERVER, the $SITES that wait for it, and $EMAIL or $SITE, its $NAMES and
# $SELF_CHECK.
ACME=/var/lib/hactl/acme

# reach: fails when the authority does not answer, in fewer words than certbot.
reach() {
    said=$(curl -fsS -o /dev/null --max-time 20 "$SERVER" 2>&1) && return 0
    printf 'the certificate authority at %s does not answer: %s\n' "$SERVER" "$said"
    echo "$SITES: served with the certificate that was there"
    return 1
}

# fetch: the token, as the authority would, of $name at $at.
fetch() {
    curl -fsS --noproxy '*' --max-time 10 --max-filesize 4096 --resolve "$name:80:$at" \
        "http://$name/.well-known/acme-challenge/$token" 2>&1
}

# look: whether each name leads to this host, as the authority will see it. DNS alone is asked: /etc/hosts has the sites.
look() {
    folder=$ACME/.well-known/acme-challenge
    token=hactl-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
    mkdir -p -- "$folder" && printf '%s\n' "$token" >"$folder/$token" || return 1
    trap 'rm -f -- "$folder/$token"' EXIT
    wrong=
    for name in $NAMES; do
        addresses=$(timeout 20 getent -s dns ahosts "$name" | while read -r address kind _; do
            [ "$kind" != STREAM ] || printf '%s\n' "$address"
        done)
        if [ -z "$addresses" ]; then
            echo "$name does not resolve in DNS"
            wrong=yes
        fi
        for address in $addresses; do
            case $address in *:*) at="[$address]" ;; *) at=$address ;; esac
            # After a reload nginx's processes of before take requests for a moment longer.
            tries=0
            until said=$(fetch) && [ "$said" = "$token" ]; do
                tries=$((tries + 1))
                [ "$tries" -lt 6 ] || break
                sleep 0.5
            done
            [ "$said" != "$token" ] || continue
            case $said in curl:*) ;; *) said='something else answers there' ;; esac
            echo "$name is $address in DNS, and http://$name/ does not lead to this host there: $said"
            wrong=yes
        done
    done
    [ -n "$wrong" ] || return 0
    echo "so the certificate authority was not asked: it counts attempts. Correct the DNS records or the way to port 80;"
    echo "where a host cannot reach its own public address, set self_check: false below certbot in the inventory"
    return 1
}

# ask WORD...: certbot, with what it says only when it fails.
ask() {
    log=/var/log/letsencrypt/letsencrypt.log
    [ -f "$log" ] && old=$(wc -c <"$log") || old=0
    # It runs once at a time.
    tries=0
    while [ "$(systemctl is-active certbot.service)" = activating ] && [ "$tries" -lt 120 ]; do
        [ "$tries" -gt 0 ] || echo 'waiting for the renewal that certbot.timer has started'
        tries=$((tries + 1))
        sleep 1
    done
    said=$(certbot "$@" --non-interactive --server "$SERVER" 2>&1) && return 0
    broken="AttributeError: can't set attribute"
    printf '%s\n' "$said" | grep -Ev "^(Saving debug log|Ask for help|Some challenges have failed|An unexpected error|$broken|[- ]*\$)"
    # certbot 2.1 on Python 3.11 loses what an authority answered on the way to the terminal; its log has it.
    case $said in
    *"$broken"*)
        tail -c "+$((old + 1))" "$log" | sed -n 's/\\"/"/g; s/^ *"detail": "\(.*\)",\{0,1\}$/the authority says: \1/p' | uniq | tail -n 3
        ;;
    esac
    return 1
}

account() {
    reach || return 1
    folder=/etc/letsencrypt/accounts/${SERVER#https://}
    set -- "$folder"/*/regr.json
    if [ -e "$1" ]; then verb=update_account; else verb=register; fi
    ask "$verb" --agree-tos --no-eff-email --email "$EMAIL"
}

issue() {
    [ "$SELF_CHECK" = no ] || look || return 1
    reach || return 1
    # An older one is kept unless it is due, comes from another authority, or has other names.
    how=--keep-until-expiring
    conf=/etc/letsencrypt/renewal/$SITE.conf
    if [ -f "$conf" ]; then
        grep -qxF "server = $SERVER" "$conf" && fresh "$LIVE/fullchain.pem" || how=--force-renewal
    fi
    set --
    for name in $NAMES; do set -- "$@" -d "$name"; done
    if ! ask certonly --webroot --webroot-path "$ACME" --cert-name "$SITE" --key-type ecdsa \
        "$how" --renew-with-new-domains "$@"; then
        echo "$SERVER gave no certificate for $SITE, which is served with the one that it had"
        return 1
    fi
    RENEWED_LINEAGE=$LIVE /etc/letsencrypt/renewal-hooks/deploy/hactl-nginx 2>&1
}
