look=
# Asked as a client: no lock of the cluster's, which two hosts that ask at once would deny each other.
summary=$(LC_ALL=C timeout 25 gluster --mode=script volume heal "$volume" info summary 2>&1 </dev/null) ||
    { printf '%s\n' "$summary" | grep . | tail -n 1; exit 1; }
found=$(printf '%s\n' "$summary" | awk '
    /^Brick / { it = $2; sub(":/.*", "", it) }
    /^Status: Connected/ { print "up " it }
    /^Number of entries in split-brain:/ && $6 + 0 > split_brain { split_brain = $6 }
    /^Total Number of entries:/ && $5 + 0 > left { left = $5 }
    END { print "split-brain " split_brain + 0; print "left " left + 0 }')
lost= alive=0
for one in $expected; do
    if printf '%s\n' "$found" | grep -qxF -- "up ${one%%=*}"; then alive=$((alive + 1)); else lost="$lost ${one#*=}"; fi
done
split_brain=$(printf '%s\n' "$found" | sed -n 's/^split-brain //p') left=$(printf '%s\n' "$found" | sed -n 's/^left //p')
if [ "$split_brain" != 0 ]; then
    echo "$split_brain files in split-brain: gluster volume heal $volume info split-brain"
    exit 1
fi
if [ -n "$lost" ]; then
    look="look: $alive of $copies copies, without:$lost"
    if [ $((alive * 2)) -lt "$copies" ]; then
        echo "${look#look: }: no majority"
        exit 1
    fi
elif [ "$left" != 0 ]; then
    look="look: $copies copies, $left files still to heal"
fi
