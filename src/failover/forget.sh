# $OLD is one of the cluster again: nobody holds it off any more.
rm -f /run/hactl-rejoins
if [ -r /var/lib/hactl/replaced ]; then
    read -r name </var/lib/hactl/replaced
    [ "$name" != "$OLD" ] || rm -f /var/lib/hactl/replaced
fi
# Of a plan that was cut off nothing is left to do.
rm -f /var/lib/hactl/failover/feeds
for record in /var/lib/hactl/failover/*.open; do
    [ ! -f "$record" ] || mv -f "$record" "${record%.open}"
done
