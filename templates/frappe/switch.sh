# Ends the old bench's programs and takes over what they held; the new programs start right after. $old, $new: the two
# benches; $link: where supervisord finds the old one's programs; $1...: the sites. It may be cut off anywhere: until $link
# is gone the old bench is whole and starts at boot, and the next run begins again; then only the new one is left to start.
set -f
say() { printf '%s\n' "$*"; }
fail() { say "$*"; exit 1; }
sites=$*

mkdir -p -m 700 "$record"
if [ -e "$link" ]; then
    cp -L -- "$link" "$record/supervisor.conf~"
    mv -fT -- "$record/supervisor.conf~" "$record/supervisor.conf"
    rm -f -- "$record/supervisor.link~"
    cp -P -- "$link" "$record/supervisor.link~"
    mv -fT -- "$record/supervisor.link~" "$record/supervisor.link"
elif [ ! -e "$record/supervisor.conf" ]; then
    fail "there is no $link, so nobody can tell which programs belong to $old: name its file in app.adopted.supervisor. Nothing was changed"
fi

supervisorctl pid >/dev/null || fail 'supervisord does not answer; nothing was changed'
web='' workers='' redis=''
for group in $(groups_of "$record/supervisor.conf"); do
    case $group in
    *-workers) workers="$workers $group:*" ;;
    *-redis) redis="$redis $group:*" ;;
    *) web="$web $group:*" ;;
    esac
done
alive() { [ -n "$*" ] && supervisorctl status "$@" | grep -Eq ' (RUNNING|STARTING|STOPPING|BACKOFF) '; }
# Its status says little; `alive` looks.
all() { _verb=$1; shift; [ -z "$*" ] || supervisorctl "$_verb" "$@" || :; }
adopt() { env -i "PATH=$PATH" "HOME=$home" "USER=$user" LANG=C.UTF-8 runuser -u "$user" -- "$new/run" python "$new/adopt.py" "$@"; }

gone() {
    for _pid in $pids; do
        [ ! -d "/proc/$_pid" ] || { say "process $_pid of the old bench does not end" >&2; return 1; }
    done
}

# Whether the old bench wrote to its configuration after that was taken over; the next run takes it over anew.
changed() {
    _found=1
    for _file in common_site_config.json $(printf '%s/site_config.json ' $sites); do
        if [ "$old/sites/$_file" -nt "$new/sites/$_file" ]; then
            rm -f -- "$new/sites/$_file"
            say "$old/sites/$_file was written to while this run was under way"
            _found=0
        fi
    done
    return $_found
}

# shellcheck disable=SC2086 # lists of words of ours
if [ -e "$link" ]; then
    ! changed || fail 'run hactl apply again; nothing was stopped'
    alive $redis || all start $redis
    adopt rehearse "$old" $sites || fail 'the new bench cannot take over; nothing was stopped'
    pids=$(supervisorctl status $web $workers | sed -n 's/.* pid \([0-9]*\),.*/\1/p')
    say 'workers finish their jobs'
    all stop $workers
    # What is slow to start is started while the old programs still end: each moment without programs is one for somebody.
    if ! {
        all stop $web >&2
        # No word, no switch.
        if gone && ! changed >&2; then echo go; fi
    } | adopt switch "$old" $sites; then
        all start $web $workers
        fail 'the old bench serves again; nothing is lost. Mend the cause and run hactl apply again'
    fi
    # From here on the old programs do not come back by themselves.
    rm -f -- "$link"
else
    all stop $web $workers
    echo keep | adopt switch "$old" $sites
fi
