# Every database remembers whose place was taken by which plan, until `hactl rejoin`: should that one return as what it was,
# nobody believes it.
mkdir -p /var/lib/hactl
{
    [ ! -r /var/lib/hactl/replaced ] || grep -vxF -- "$OLD $PLAN" /var/lib/hactl/replaced || :
    printf '%s %s\n' "$OLD" "$PLAN"
} >/var/lib/hactl/.replaced~
sync /var/lib/hactl/.replaced~
mv -fT /var/lib/hactl/.replaced~ /var/lib/hactl/replaced
# And when: a second plan soon afterwards is one to think about. The new primary may be the next to die, so everybody keeps it.
mkdir -p -m 700 /var/lib/hactl/failover
cat >/var/lib/hactl/failover/.moved~ <<MOVED
$MOVED
moved_at $(date +%s)
MOVED
mv -fT /var/lib/hactl/failover/.moved~ /var/lib/hactl/failover/moved
rm -f /var/lib/hactl/failover/feeds
