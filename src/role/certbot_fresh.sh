# Part of every probe, so it is short. $SITE: the name of the certificate.
LIVE=/etc/letsencrypt/live/$SITE
TLS=/etc/nginx/tls/$SITE

# fresh CERTIFICATE: whether it still has 21 days, or a third of its life when that is less.
fresh() {
    ! openssl x509 -in "$1" -noout -checkend 1814400 >/dev/null 2>&1 || return 0
    start=$(openssl x509 -in "$1" -noout -startdate) && start=$(date -d "${start#*=}" +%s) &&
        end=$(openssl x509 -in "$1" -noout -enddate) && end=$(date -d "${end#*=}" +%s) || return 1
    [ $((end - $(date +%s))) -gt $(((end - start) / 3)) ]
}

# taken_up: whether nginx's files are certbot's, and good for a while.
taken_up() {
    [ "$TLS.crt" -ef "$LIVE/fullchain.pem" ] && [ "$TLS.key" -ef "$LIVE/privkey.pem" ] && fresh "$TLS.crt"
}
