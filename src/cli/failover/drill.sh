# Somebody who writes through the endpoint of this host, one row after the other, from three sides so that one that hangs says
# little. $HOST, $PORT: the endpoint. Ends when there is a file `enough`.
D=/run/hactl-drill
rm -rf "$D"
mkdir -p "$D"
: >"$D/acknowledged"
command -v mariadb >/dev/null || { echo 'there is no client of MariaDB here' >&2; exit 1; }
for side in 1 2 3; do
    (
        number=0
        while [ ! -e "$D/enough" ]; do
            number=$((number + 1))
            row=$((number * 10 + side))
            if timeout 1 mariadb --no-defaults --protocol=tcp --connect-timeout=1 -h "$HOST" -P "$PORT" -u hactl_drill \
                -e "INSERT INTO hactl_drill.written VALUES ($row)" 2>>"$D/refused"; then
                printf '%s %s\n' "$row" "$(date +%s%3N)" >>"$D/acknowledged"
            fi
            sleep 0.02
        done
    ) &
done
wait
