# Every database remembers whose place was taken, until `hactl rejoin`: should that one return as what it was, nobody believes it.
mkdir -p /var/lib/hactl
printf '%s\n' "$OLD" >/var/lib/hactl/.replaced~
sync /var/lib/hactl/.replaced~
mv -fT /var/lib/hactl/.replaced~ /var/lib/hactl/replaced
