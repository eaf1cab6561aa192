gl() { LC_ALL=C timeout 20 gluster --mode=script "$@" 2>/dev/null; }
look=
gl volume info "$volume" | grep -qx 'Status: Started' || { echo "the volume $volume is not started, or glusterd does not answer"; exit 1; }
# Copies that run, as glusterd knows them; those of hosts that are lost are not in the list.
up=$(gl volume status "$volume" --xml | tr -d '\n' | sed 's/<node>/\n/g' |
    sed -n 's|.*<hostname>\([0-9.]*\)</hostname> *<path>/.*<status>1</status>.*|\1|p')
lost= alive=0
for one in $expected; do
    if printf '%s\n' "$up" | grep -qxF -- "${one%%=*}"; then alive=$((alive + 1)); else lost="$lost ${one#*=}"; fi
done
heal=$(gl volume heal "$volume" info summary |
    awk '/^Number of entries in split-brain:/ && $6 > split_brain { split_brain = $6 } /^Number of entries in heal pending:/ && $7 > pending { pending = $7 } END { print pending + 0, split_brain + 0 }')
[ "${heal#* }" = 0 ] || { echo "${heal#* } files in split-brain: gluster volume heal $volume info split-brain"; exit 1; }
if [ -n "$lost" ]; then
    look="look: $alive of $copies copies, without:$lost"
    [ "$alive" -gt $((copies / 2)) ] || [ "$copies" = 2 ] && [ "$alive" = 1 ] || { echo "${look#look: }: no majority"; exit 1; }
elif [ "${heal% *}" != 0 ]; then
    look="look: $copies copies, ${heal% *} files still to heal"
fi
