# Reads the bench of a host that `bench` built. Reads only. $1: its folder; without, it is looked for where benches are and
# where supervisord and nginx have their files from. What belongs to the bench's user is read as that user, since links and
# git configurations in its folders are that user's words.
seen='' own=''
look() {
    _d=$(readlink -f -- "$1" 2>/dev/null) || return 0
    [ -d "$_d/apps/frappe" ] && [ -f "$_d/sites/common_site_config.json" ] || return 0
    case $_d in *[!A-Za-z0-9/._+@-]*)
        mark odd; printf '%s\n' "$_d"
        return 0 ;;
    esac
    # What hactl made is no bench of `bench`.
    if [ -d "$_d/releases" ] && [ -L "$_d/current" ]; then own=$_d; return 0; fi
    case " $seen " in *" $_d "*) ;; *) seen="$seen $_d" ;; esac
}
[ -z "$1" ] || look "$1"
asked=$seen
for f in /etc/supervisor/conf.d/* /etc/nginx/conf.d/* /etc/nginx/sites-enabled/*; do
    t=$(readlink -f -- "$f" 2>/dev/null)
    case $t in */config/supervisor.conf | */config/nginx.conf) look "${t%/config/*}" ;; esac
done
for d in /home/*/* /opt/* /opt/*/* /srv/* /srv/*/* /root/*; do look "$d"; done
if [ -n "$1" ]; then
    for d in $seen; do
        case " $asked " in *" $d "*) ;; *) mark other; printf '%s\n' "$d" ;; esac
    done
    seen=$asked
fi
for d in $seen; do mark bench; printf '%s\n' "$d"; done
[ -z "$own" ] || { mark own; printf '%s\n' "$own"; }

limited() { head -c 262144; }
# file NAME PATH: a file of the bench.
file() { if as test -f "$2"; then mark file "$1"; as cat -- "$2" 2>/dev/null | limited; fi; }
query() { mariadb --no-defaults --skip-ssl --connect-timeout=5 --batch --raw --skip-column-names -e "$1" 2>&1 </dev/null; }

an_app() {
    _d=$1
    g() { as env GIT_OPTIONAL_LOCKS=0 git -c core.fsmonitor=false -c core.hooksPath=/dev/null -C "$_d" "$@" 2>/dev/null </dev/null; }
    if ! g rev-parse --git-dir >/dev/null; then printf 'git=no\n'; return; fi
    remotes=$(g remote)
    for r in upstream origin $remotes; do
        url=$(g remote get-url "$r") && { printf 'url=%s\n' "$url"; break; }
    done
    printf 'commit=%s\n' "$(g rev-parse HEAD)"
    g tag --points-at HEAD | head -n 20 | sed 's/^/tag=/'
    printf 'branch=%s\n' "$(g symbolic-ref --short HEAD)"
    printf 'dirty=%s\n' "$(g status --porcelain --untracked-files=no | wc -l)"
    [ -z "$(g branch -r --contains HEAD | head -n 1)" ] || printf 'remote=yes\n'
}

read_bench() {
    b=$1
    owner=$(stat -c %U -- "$b/sites")
    if [ "$owner" = root ]; then as() { "$@"; }; else as() { runuser -u "$owner" -- "$@"; }; fi
    mark user; getent passwd "$owner"
    mark group; id -gn "$owner"; id -g "$owner"
    file common "$b/sites/common_site_config.json"
    file supervisor "$b/config/supervisor.conf"
    file nginx "$b/config/nginx.conf"
    file python "$b/env/pyvenv.cfg"
    file apps "$b/sites/apps.txt"
    for d in "$b"/sites/*/; do
        d=${d%/}
        n=${d##*/}
        as test -e "$d/site_config.json" || continue
        case $n in *[!A-Za-z0-9._-]*) mark oddsite; printf '%s\n' "$n"; continue ;; esac
        if [ -L "$d" ]; then mark site "$n" link; else mark site "$n"; fi
        as cat -- "$d/site_config.json" 2>/dev/null | limited
    done
    for d in "$b"/apps/*/; do
        d=${d%/}
        n=${d##*/}
        case $n in *[!A-Za-z0-9._-]*) continue ;; esac
        mark app "$n"; an_app "$d"
    done
    # Which of supervisord's and nginx's files are this bench's: kind, file, what is behind it, whether it names the bench.
    mark links
    for f in /etc/supervisor/conf.d/*.conf /etc/supervisor/conf.d/*.ini /etc/nginx/conf.d/*.conf /etc/nginx/sites-enabled/*; do
        [ -e "$f" ] || continue
        case $f in /etc/supervisor/*) k=supervisor ;; *) k=nginx ;; esac
        if grep -qsF "$b/" "$f"; then names=yes; else names=no; fi
        printf '%s\t%s\t%s\t%s\n' "$k" "$f" "$(readlink -f -- "$f")" "$names"
    done
    mark devices
    for p in "$b/sites" /srv; do [ -d "$p" ] && printf '%s\t%s\n' "$p" "$(stat -c '%d %m' -- "$p")"; done
    mark host; hostname; nproc
    mark ports; ss -Hltn 2>/dev/null
    mark units; for u in supervisor nginx mariadb redis-server; do printf '%s %s\n' "$u" "$(systemctl is-active $u)"; done
    mark targets; systemctl list-units --plain --no-legend --all "${b##*/}*" 2>/dev/null | cut -d' ' -f1
    mark cron
    for u in root "$owner"; do
        crontab -l -u "$u" 2>/dev/null | grep -v '^[[:space:]]*#' | grep -c bench | sed "s/^/$u /"
    done
    [ -r /root/.my.cnf ] && { mark mycnf; limited </root/.my.cnf; }
    mark version; query 'SELECT VERSION()'; mark rooted $?
    for n in $(query "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME='tabDefaultValue'" | head -n 500); do
        case $n in *[!A-Za-z0-9_]*) continue ;; esac
        mark database "$n"
        query "SELECT defvalue FROM \`$n\`.tabDefaultValue WHERE parent='__global' AND defkey='installed_apps' LIMIT 1"
        mark scheduler "$n"
        query "SELECT value FROM \`$n\`.tabSingles WHERE doctype='System Settings' AND field='enable_scheduler' LIMIT 1"
    done
}
# shellcheck disable=SC2086 # paths without blanks, see look
set -- $seen
[ $# != 1 ] || read_bench "$1" </dev/null
