# Every database remembers whose place was taken by which plan, until `hactl rejoin`: should that one return as what it was,
# nobody believes it.
mkdir -p /var/lib/hactl
{
    [ ! -r /var/lib/hactl/replaced ] || grep -vxF -- "$OLD $PLAN" /var/lib/hactl/replaced || :
    printf '%s %s\n' "$OLD" "$PLAN"
} >/var/lib/hactl/.replaced~
sync /var/lib/hactl/.replaced~
mv -fT /var/lib/hactl/.replaced~ /var/lib/hactl/replaced
