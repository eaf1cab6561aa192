# $OLD is one of the cluster again: nobody holds it off any more. $HERE: 1 on $OLD itself. $FROM: plans that took its place;
# it keeps them, for a host that was away and still believes in one of them.
rm -f /run/hactl-rejoins
if [ "$HERE" = 1 ] && [ -n "$FROM" ]; then
    { [ ! -r /var/lib/hactl/returned ] || cat /var/lib/hactl/returned; printf '%s\n' "$FROM"; } | sort -u >/var/lib/hactl/.returned~
    sync /var/lib/hactl/.returned~
    mv -fT /var/lib/hactl/.returned~ /var/lib/hactl/returned
fi
if [ -r /var/lib/hactl/replaced ]; then
    while read -r name plan; do
        [ "$name" = "$OLD" ] || printf '%s %s\n' "$name" "$plan"
    done </var/lib/hactl/replaced >/var/lib/hactl/.replaced~
    mv -fT /var/lib/hactl/.replaced~ /var/lib/hactl/replaced
    [ -s /var/lib/hactl/replaced ] || rm -f /var/lib/hactl/replaced
fi
# Of a plan that was cut off nothing is left to do.
rm -f /var/lib/hactl/failover/feeds
for record in /var/lib/hactl/failover/*.open; do
    [ ! -f "$record" ] || mv -f "$record" "${record%.open}"
done
