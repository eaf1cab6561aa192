#!/bin/sh
# Serve the subfolders of a folder as git repositories, for labs: hosts clone from git://ADDRESS/NAME.
#
#   serve-git.sh start FOLDER... ADDRESS STATE_DIR    make STATE_DIR/NAME.git of each FOLDER/NAME and serve them
#   serve-git.sh start -1 FOLDER... ADDRESS STATE_DIR the folders themselves are the repositories
#   serve-git.sh stop STATE_DIR                       end that server
#
# Each repository has one commit on `main`, tagged v1. The same files give the same commit id on every run and machine
# (fixed author and dates), so that a second run sees nothing new. Files that git ignores are left out.
# PORT (default 9418) is the port to listen on.
# It can be sourced as well: serve_git_start and serve_git_stop take the same arguments.

# Fixed identity, and none of the caller's own configuration (signing, hooks, line endings).
serve_git_git() {
    GIT_AUTHOR_NAME=lab GIT_AUTHOR_EMAIL=lab@localhost GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' \
        GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@localhost GIT_COMMITTER_DATE='2024-01-01T00:00:00Z' \
        GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null git "$@"
}

# serve_git_make SOURCE STATE_DIR: STATE_DIR/NAME.git with what SOURCE holds now. Older commits stay reachable by id.
serve_git_make() {
    _name=$(basename "$1")
    _repo=$2/$_name.git
    [ -f "$_repo/HEAD" ] || serve_git_git init --quiet --bare --initial-branch=main "$_repo" || return
    _index=$_repo/serve-git.index
    rm -f "$_index"
    GIT_INDEX_FILE=$_index serve_git_git --git-dir="$_repo" --work-tree="$1" -C "$1" add --all . || return
    _tree=$(GIT_INDEX_FILE=$_index serve_git_git --git-dir="$_repo" write-tree) || return
    rm -f "$_index"
    _commit=$(serve_git_git --git-dir="$_repo" commit-tree -m "$_name" "$_tree") || return
    serve_git_git --git-dir="$_repo" update-ref refs/heads/main "$_commit" || return
    serve_git_git --git-dir="$_repo" update-ref refs/tags/v1 "$_commit" || return
    # Anyone who may reach the address may fetch any commit, also one by id.
    serve_git_git --git-dir="$_repo" config uploadpack.allowAnySHA1InWant true || return
    : >"$_repo/git-daemon-export-ok"
    echo "$_name $_commit"
}

# True when the pid file's process is still that git daemon (a pid alone may be someone else's by now).
serve_git_running() {
    _pid=$(cat "$1/git-daemon.pid" 2>/dev/null) && [ -n "$_pid" ] || return 1
    tr '\0' ' ' <"/proc/$_pid/cmdline" 2>/dev/null | grep -q -- "--base-path=$1 "
}

serve_git_start() {
    _whole=
    if [ "$1" = -1 ]; then
        _whole=yes
        shift
    fi
    _folders=
    [ $# -ge 3 ] || {
        echo "usage: serve-git.sh start [-1] FOLDER... ADDRESS STATE_DIR" >&2
        return 2
    }
    while [ $# -gt 2 ]; do
        _folders="$_folders
$(cd "$1" && pwd)" || return
        shift
    done
    _address=$1
    mkdir -p "$2" && _state=$(cd "$2" && pwd) || return

    _ifs=$IFS
    IFS='
'
    set -f
    # shellcheck disable=SC2086 # one folder a line
    set -- $_folders
    set +f
    IFS=$_ifs
    for _folder; do
        if [ -n "$_whole" ]; then
            serve_git_make "$_folder" "$_state" || return
            continue
        fi
        for _sub in "$_folder"/*/; do
            serve_git_make "${_sub%/}" "$_state" || return
        done
    done

    if serve_git_running "$_state"; then
        return 0
    fi
    rm -f "$_state/git-daemon.pid"
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' \
        setsid git daemon --reuseaddr --listen="$_address" --port="${PORT:-9418}" --base-path="$_state" \
        --pid-file="$_state/git-daemon.pid" --informative-errors "$_state" \
        >"$_state/git-daemon.log" 2>&1 </dev/null &
    # It writes its pid file only when it listens.
    _tries=0
    until [ -s "$_state/git-daemon.pid" ]; do
        _tries=$((_tries + 1))
        if [ "$_tries" -gt 100 ]; then
            cat "$_state/git-daemon.log" >&2
            echo "serve-git.sh: git daemon does not listen on $_address:${PORT:-9418}" >&2
            return 1
        fi
        sleep 0.05
    done
}

serve_git_stop() {
    _state=$(cd "$1" 2>/dev/null && pwd) || return 0
    if serve_git_running "$_state"; then
        kill "$(cat "$_state/git-daemon.pid")"
    fi
    rm -f "$_state/git-daemon.pid"
}

case ${0##*/} in
serve-git.sh)
    _verb=${1:-}
    [ $# -gt 0 ] && shift
    case $_verb in
    start) serve_git_start "$@" ;;
    stop) serve_git_stop "$@" ;;
    *)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
    ;;
esac
