# What the writer saw. $HOST, $PORT: the endpoint; $BEGAN: when the crash plan was started, milliseconds.
D=/run/hactl-drill
end=$(($(date +%s) + 60))
until [ "$(awk -v at="$BEGAN" '$2 > at' "$D/acknowledged" | wc -l)" -ge 20 ]; do
    if [ "$(date +%s)" -ge "$end" ]; then
        tail -n 1 "$D/refused"
        echo 'nobody can write a minute after the crash plan' >&2
        exit 1
    fi
    sleep 0.2
done
: >"$D/enough"
sleep 1.2
mariadb --no-defaults --protocol=tcp -h "$HOST" -P "$PORT" -u hactl_drill -N -e 'SELECT id FROM hactl_drill.written' | sort >"$D/there"
cut -d ' ' -f 1 "$D/acknowledged" | sort >"$D/promised"
echo "acknowledged $(wc -l <"$D/promised")"
echo "lost $(comm -23 "$D/promised" "$D/there" | wc -l)"
sort -n -k 2 "$D/acknowledged" | awk -v at="$BEGAN" '
    $2 > at && !first { first = $2 }
    NR > 1 && $2 - before > gap { gap = $2 - before }
    { before = $2 }
    END { printf "first %d\ngap %d\n", first - at, gap }'
