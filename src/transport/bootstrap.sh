umask 022; ulimit -S -c 0; export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; exec 2>&1; cd /
mark() { printf "\n\036%s %s\n" "$T" "$*"; }
heard() { :; }
printf "\036hactl %s\n" "$(id -u)"
while read -r w T n; do [ "$w" = hactl ] || { heard; continue; }; s=$(head -c "$n"); eval "$s"; mark done $?; [ -z "${LAST-}" ] || exit 0; done
