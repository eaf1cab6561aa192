# $OLD is one of the cluster again: nobody holds it off any more.
rm -f /run/hactl-rejoins
if [ -r /var/lib/hactl/replaced ]; then
    read -r name </var/lib/hactl/replaced
    [ "$name" != "$OLD" ] || rm -f /var/lib/hactl/replaced
fi
