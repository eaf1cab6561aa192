why=$(sed -n 's/^why=//p' "$file.failed" 2>/dev/null)
then=$(sed -n -e 's/^ended=//p' -e 's/^until=//p' "$file" 2>/dev/null)
size=$(sed -n 's/^size=//p' "$file" 2>/dev/null)
kind=$(sed -n 's/^kind=//p' "$file" 2>/dev/null)
age=
if [ -n "$then" ]; then
    age=$(($(date +%s) - then))
    if [ "$age" -lt 180 ]; then age="$age s"; elif [ "$age" -lt 7200 ]; then age="$((age / 60)) min"; else age="$((age / 3600)) h"; fi
    age="$age old"
    [ -z "$size" ] || age="${kind:+$kind, }$((size / 1048576)) MiB, $age"
    [ $(($(date +%s) - then)) -le "$late" ] || why="${why:-nothing newer was taken}"
fi
if [ -n "$why" ]; then
    echo "$why; the newest good one: ${age:-none}"
    exit 1
fi
if systemctl -q is-failed "$unit"; then
    echo "$unit failed; the newest good one: ${age:-none}"
    exit 1
fi
[ -n "$age" ] || { echo 'look: there is no good one yet'; exit 0; }
echo "$age"
