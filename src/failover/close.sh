# Everybody knows: nothing of the plan is left to do.
for record in /var/lib/hactl/failover/*.open; do
    [ ! -f "$record" ] || mv -f "$record" "${record%.open}"
done
