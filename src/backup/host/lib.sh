#!/bin/sh
# Made by hactl. Takes backups of what this host has, looks at those that are there, and restores them: docs/backup.md.
# Every copy is a snapshot in a restic repository. One that is good has a second snapshot that says so, and what it is, in
# its tags; what has none does not count, and is forgotten by the next run.
set -u
umask 077
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
STATE=/var/lib/hactl/backup
DATA=/var/lib/mysql
LOGS=/var/log/mysql
SOCKET=/run/mysqld/mysqld.sock
. /etc/hactl/backup.conf
mkdir -p "$STATE"
T=$(mktemp -d /run/hactl-backup.XXXXXX) || exit 1
trap 'rm -rf "$T"' EXIT
trap 'exit 130' INT TERM HUP

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

sql() { mariadb --no-defaults --skip-ssl --socket="$SOCKET" --connect-timeout=10 --batch --raw --skip-column-names -e "$1"; }

# Of two runs of one kind on this host the second waits for the first, but not for ever.
alone() {
    exec 9>"/run/lock/hactl-backup-$1"
    flock -w "${2:-3600}" 9 || fail "another $1 run is at work on this host"
}

# use TARGET: sets what restic needs; see backup.conf.
use() {
    ssh_key='' ssh_known='' ssh_to=''
    unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION AZURE_ACCOUNT_NAME AZURE_ACCOUNT_KEY
    unset GOOGLE_APPLICATION_CREDENTIALS gs_credentials
    target "$1" || fail "there is no target $1 here"
    if [ -n "$ssh_to" ]; then
        printf '%s\n' "$ssh_key" >"$T/ssh.key"
        printf '%s\n' "$ssh_known" >"$T/ssh.known"
    fi
    if [ -n "${gs_credentials-}" ]; then
        printf '%s\n' "$gs_credentials" >"$T/gs.json"
        export GOOGLE_APPLICATION_CREDENTIALS="$T/gs.json"
    fi
    export RESTIC_CACHE_DIR=/var/cache/hactl-restic RESTIC_PROGRESS_FPS=0.1
}

restic_() {
    if [ -n "$ssh_to" ]; then
        set -- -o "sftp.command=ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=20 -o ServerAliveInterval=20 -o UserKnownHostsFile=$T/ssh.known -i $T/ssh.key $ssh_to -s sftp" "$@"
    fi
    [ "$LIMIT_UPLOAD" = 0 ] || set -- --limit-upload "$LIMIT_UPLOAD" "$@"
    restic --quiet "$@"
}

# The same, and again when another run has the repository for itself; a lock that its owner left behind is taken away.
patient() {
    _tries=0
    until restic_ "$@" 2>"$T/patient"; do
        if ! grep -q 'already locked' "$T/patient" || [ "$_tries" -ge "${PATIENCE:-30}" ]; then
            cat "$T/patient" >&2
            return 1
        fi
        _tries=$((_tries + 1))
        restic_ unlock >/dev/null 2>&1 || :
        sleep 10
    done
}

# The last line of a complaint, for people.
last() { grep -v '^[[:space:]]*$' "$1" 2>/dev/null | tail -n 1 | cut -c 1-300; }

# Makes the repository when it is not there.
prepare_repository() {
    if restic_ cat config >/dev/null 2>"$T/err"; then
        return 0
    fi
    restic_ init >"$T/out" 2>"$T/init" || {
        cat "$T/err" "$T/init" >&2
        return 1
    }
}

# All snapshots of this cluster, one a line: its id, then its tags as WORD or KEY=VALUE.
catalog() {
    restic_ snapshots --json --no-lock --tag "hactl,cluster=$CLUSTER" >"$T/json" 2>"$T/err" || {
        cat "$T/err" >&2
        return 1
    }
    sed 's/{"time":/\n&/g' "$T/json" |
        sed -n 's/^{"time":.*"tags":\[\([^]]*\)\].*"id":"\([0-9a-f]*\)".*/\2 \1/p' | tr -d '"' | tr ',' ' '
}

# field KEY, of lines of the catalog: the value, a line each.
field() { sed -n "s/.* $1=\([^ ]*\).*/\1/p"; }

# with WORD...: lines that have all these words.
with() {
    awk 'BEGIN { for (i = 1; i < ARGC; i++) want[i] = ARGV[i]; n = ARGC; ARGC = 1 }
        { for (i = 1; i < n; i++) if (index($0 " ", " " want[i] " ") == 0) next; print }' "$@"
}

# by KEY, of lines of the catalog: in the order of that number, smallest first.
by() { awk -v key="$1" '{ for (i = 2; i <= NF; i++) if (index($i, key "=") == 1) { print substr($i, length(key) + 2) "\t" $0 } }' | sort -n | cut -f 2-; }

snapshot_id() { sed -n 's/.*"snapshot_id":"\([0-9a-f]*\)".*/\1/p' "$1" | tail -n 1; }

# What status reads: record TARGET KIND KEY=VALUE...
record() {
    _file=$STATE/$1.$2
    shift 2
    printf '%s\n' "$@" >"$_file~" && mv -f "$_file~" "$_file"
}

# What went wrong, for status and for whoever started this; success takes it away.
broke() {
    printf '%s\n' "at=$(date +%s)" "why=$3" >"$STATE/$1.$2.failed~"
    mv -f "$STATE/$1.$2.failed~" "$STATE/$1.$2.failed"
    printf '%s\n' "$1: $3" >&2
}
fine() { rm -f "$STATE/$1.$2.failed"; }

# The highest transaction of each domain in a list of them, joined by `+`; `none` when there is none.
position() {
    tr ',+' '\n\n' | sed -n 's/.*\([0-9][0-9]*\)$/&/p' | tr -d ' ' | grep -E '^[0-9]+-[0-9]+-[0-9]+$' |
        awk -F- '!($1 in top) || $3 > top[$1] { top[$1] = $3; all[$1] = $0 }
            END { for (d in all) print all[d] }' | sort -n | paste -s -d + | sed 's/^$/none/'
}

# Whether a target is a folder of the hosts, of which each has its own.
own() { case " $OWN " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

is_writer() { [ "$(sql 'SELECT @@global.read_only' 2>/dev/null)" = 0 ]; }

# Which history the data are of: a restore to a moment begins another.
timeline() {
    _line=$(sql 'SELECT run FROM hactl.timeline ORDER BY id DESC LIMIT 1' 2>/dev/null)
    say "${_line:-0}"
}
