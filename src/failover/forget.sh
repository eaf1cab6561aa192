# $OLD is one of the cluster again: nobody holds it off any more.
if [ -r /var/lib/hactl/replaced ]; then
    read -r name </var/lib/hactl/replaced
    [ "$name" != "$OLD" ] || rm -f /var/lib/hactl/replaced
fi
rm -f /run/hactl-rejoins
! nft list table inet hactl_fence >/dev/null 2>&1 || nft delete table inet hactl_fence
