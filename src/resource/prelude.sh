# Sourced by every step. $B: the step's data, $R: the run's folder (memory, root only), $RUN: the run's id.
# $KEEP holds what files were before this or an interrupted run, until the service that reads them was seen healthy.
set -u
KEEP=/var/lib/hactl/previous
LOADED=/run/hactl/loaded

fail() { printf '%s\n' "$*"; exit 1; }
same() { exit 99; }
moved() { printf '%s\n' "$*"; exit 98; }

hash() { if [ -f "$1" ]; then _h=$(sha256sum <"$1") && printf '%s' "${_h%% *}"; else printf none; fi; }

# expect PATH SHA256: refuses when the file is not what the plan saw.
expect() {
    [ "$(hash "$1")" = "$2" ] || moved "$1 changed on the host since the plan was made"
}

kept() { printf '%s/%s' "$KEEP" "$(printf '%s' "$1" | tr / !)"; }

# keep PATH: remembers what it is now, unless an older state that was healthy is still remembered.
keep() {
    _k=$(kept "$1")
    [ -e "$_k" ] || [ -L "$_k" ] || [ -e "$_k.none" ] && return 0
    mkdir -p -m 700 "$KEEP" || return 1
    if [ -L "$1" ] || [ -f "$1" ]; then cp -pP -- "$1" "$_k~" && mv -fT -- "$_k~" "$_k"; else : >"$_k.none"; fi
}

# put PATH OWNER GROUP MODE SOURCE: replaces a file atomically.
put() {
    _d=$(dirname -- "$1")
    [ -d "$_d" ] || fail "cannot write $1: the folder $_d does not exist"
    [ ! -d "$1" ] || [ -L "$1" ] || fail "cannot write $1: a folder is in its place"
    keep "$1" || fail "cannot keep the old $1 in $KEEP (is the disk full?)"
    _t="$_d/.$(basename -- "$1").hactl~"
    # In a folder of another user, root must not write through what that user may have put there; nor does that user get to
    # see what a step has in its environment.
    if [ "$2" != root ] && [ "$(stat -c %U -- "$_d")" = "$2" ] && [ "$(id -gn -- "$2")" = "$3" ]; then
        env -i "PATH=$PATH" LC_ALL=C runuser -u "$2" -- sh -c 'rm -f -- "$1" && umask 077 && cat >"$1" && chmod -- "$2" "$1" && sync -- "$1" && mv -fT -- "$1" "$3"' \
            sh "$_t" "$4" "$1" <"$5" && return 0
        fail "cannot write $1; the old file is untouched"
    fi
    if cat -- "$5" >"$_t" && chown -- "$2:$3" "$_t" && chmod -- "$4" "$_t" && sync -- "$_t" && mv -fT -- "$_t" "$1"; then
        return 0
    fi
    rm -f -- "$_t"
    fail "cannot write $1; the old file is untouched"
}

# putback PATH...: the files as they were when their service was last healthy. Fails when nothing was kept.
putback() {
    _any=1
    for _p in "$@"; do
        _k=$(kept "$_p")
        if [ -e "$_k.none" ]; then
            rm -f -- "$_p" "$_k.none"
            _any=0
        elif [ -e "$_k" ] || [ -L "$_k" ]; then
            _t="$(dirname -- "$_p")/.$(basename -- "$_p").hactl~"
            cp -pP -- "$_k" "$_t" && mv -fT -- "$_t" "$_p" && rm -f -- "$_k" && _any=0
        fi
    done
    return $_any
}

# forget PATH...: they are healthy now.
forget() {
    for _p in "$@"; do
        _k=$(kept "$_p")
        rm -f -- "$_k" "$_k.none"
    done
}

# hashes PATH...: what a service is about to load, a line each.
hashes() {
    for _p in "$@"; do
        if [ -L "$_p" ]; then
            printf 'link:%s  %s\n' "$(readlink -- "$_p")" "$_p"
        elif [ -f "$_p" ]; then
            printf '%s  %s\n' "$(hash "$_p")" "$_p"
        fi
    done
}

# stamp NAME UNIT HASHES: what the service has loaded, tied to this start of the unit.
stamp() {
    mkdir -p "$LOADED"
    { systemctl show -p InvocationID --value "$2" && printf '%s\n' "$3"; } >"$LOADED/.$1~" && mv -fT "$LOADED/.$1~" "$LOADED/$1"
}

# healthy TEST_FILE SECONDS: waits for the test to pass; its last words are in $R/health.
healthy() {
    _end=$(($(date +%s) + $2))
    while :; do
        if timeout 10 sh "$1" </dev/null >"$R/health" 2>&1; then return 0; fi
        [ "$(date +%s)" -lt "$_end" ] || return 1
        sleep 0.2
    done
}

unit_log() { journalctl -u "$1" -n 15 --no-pager -o cat 2>/dev/null; }

# act HOW UNIT: a step may know a better way to reload.
act() { systemctl "$1" "$2"; }

# load UNIT reload|restart|start TEST_FILE SECONDS PATH...: makes the unit run with the files as they are; when it does
# not become healthy, the files it had before come back.
load() {
    _unit=$1 _how=$2 _test=$3 _wait=$4
    shift 4
    _seen=$(hashes "$@")
    case $(systemctl is-active "$_unit") in
    # It came up after the plan was made, perhaps before its files were in place: nobody knows what it read.
    active | reloading) [ "$_how" != start ] || _how=restart ;;
    activating) _how=restart ;;
    *) _how=start ;;
    esac
    [ "$_how" != start ] || systemctl reset-failed "$_unit" 2>/dev/null
    if act "$_how" "$_unit" && healthy "$_test" "$_wait"; then
        stamp "$_unit" "$_unit" "$_seen"
        forget "$@"
        return 0
    fi
    printf '%s did not become healthy after %s:\n' "$_unit" "$_how"
    [ ! -s "$R/health" ] || cat "$R/health"
    unit_log "$_unit"
    if putback "$@"; then
        systemctl reset-failed "$_unit" 2>/dev/null
        [ "$_how" != start ] || _how=restart
        if act "$_how" "$_unit" && healthy "$_test" "$_wait"; then
            stamp "$_unit" "$_unit" "$(hashes "$@")"
            fail "the old configuration is back in place and $_unit is healthy with it"
        fi
        fail "the old configuration is back in place, but $_unit is not healthy with it either"
    fi
    fail "no older configuration was kept, so nothing was put back"
}

# load_programs GROUP TEST_FILE SECONDS PATH...: the same for a group of supervised programs.
load_programs() {
    _group=$1 _test=$2 _wait=$3
    shift 3
    _seen=$(hashes "$@")
    start_programs
    if healthy "$_test" "$_wait"; then
        stamp "supervisor.$_group" supervisor.service "$_seen"
        forget "$@"
        return 0
    fi
    printf 'programs %s did not become healthy:\n' "$_group"
    [ ! -s "$R/health" ] || cat "$R/health"
    supervisorctl status "$_group:*"
    for _program in $(supervisorctl status "$_group:*" | sed -n 's/^\([^ ]*\) .*/\1/p'); do
        supervisorctl tail -1500 "$_program" stderr 2>/dev/null
    done
    if putback "$@"; then
        start_programs
        if healthy "$_test" "$_wait"; then
            stamp "supervisor.$_group" supervisor.service "$(hashes "$@")"
            fail "the old configuration is back in place and the programs are healthy with it"
        fi
        fail "the old configuration is back in place, but the programs are not healthy with it either"
    fi
    fail "no older configuration was kept, so nothing was put back"
}

# An update restarts a group only when its configuration changed; new code alone needs a restart. The processes in $GENTLE
# replace their children on SIGHUP instead, without an interruption; $HARSH are the others. Children that are to leave are
# listed for the health test: as long as one of them serves, not all do so with the files as they are.
start_programs() {
    rm -f "$R/leaving"
    supervisorctl reread >"$R/reread" 2>&1 || cat "$R/reread"
    supervisorctl update "$_group" >"$R/update" 2>&1 || cat "$R/update"
    if grep -Eq "^$_group: (added|updated)" "$R/update"; then return; fi
    if [ -z "${GENTLE-}" ]; then
        supervisorctl restart "$_group:*"
        return
    fi
    for _program in $GENTLE; do
        _pid=$(supervisorctl pid "$_program")
        case $_pid in
        '' | 0 | *[!0-9]*) supervisorctl restart "$_program" && continue ;;
        esac
        grep -lsx "PPid:[[:space:]]*$_pid" /proc/[0-9]*/status | sed 's,/proc/,,; s,/status,,' >>"$R/leaving"
        kill -HUP "$_pid" || supervisorctl restart "$_program"
    done
    # Words of ours: group and process names.
    # shellcheck disable=SC2086
    [ -z "$HARSH" ] || supervisorctl restart $HARSH
}
