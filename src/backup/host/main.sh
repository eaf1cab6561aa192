
# ---- verbs ----------------------------------------------------------------------------------------------------------

verb=${1-}
[ $# = 0 ] || shift
case $verb in
    # What the timers run.
    timer)
        case ${1-} in
            db) scheduled_db ;;
            binlog) scheduled_binlog ;;
            files) scheduled_files ;;
        esac
        ;;
    # init: makes the repositories that are not there.
    init)
        for name in "$@"; do
            use "$name"
            prepare_repository || fail "target $name: $(last "$T/init")"
        done
        ;;
    # db TARGET: now.
    db)
        alone db
        FULL=${2-}
        take_db "$1" || exit 1
        keep "$1" || say "old copies cannot be forgotten now; the next run tries again"
        ;;
    # part: what this host's MariaDB is.
    part)
        if ! sql 'SELECT 1' >/dev/null 2>&1; then say down; elif is_writer; then say writer; elif follows; then say replica; else say behind; fi
        ;;
    # has ID: whether a replica has that canary by now.
    has) [ "$(sql "SELECT COUNT(*) FROM hactl.backups WHERE run = '$1'" 2>/dev/null)" = 1 ] ;;
    canary) canary "$1" ;;
    binlog) alone binlog; flushed=; force=1; ship "$1" ;;
    files) alone files; take_files "$1" ;;
    # catalog TARGET: all that is there.
    catalog) use "$1"; catalog ;;
    # index TARGET SNAPSHOT: the logs of one snapshot, with what was before each and what it ends with.
    index) use "$1"; restic_ dump "$2" "$STATE/index/$1" ;;
    # check TARGET: reads and verifies every byte of a repository.
    check) use "$1"; PATIENCE=30 patient check --read-data ;;
    scratch) scratch "$1" "${2-}" ;;
    site) DUMP=$2; scratch "$1" ;;
    load-site) load_site "$1" "$2" ;;
    files-back) files_back "$1" "$2" "$3" ;;
    aside) aside "$1" ;;
    swap) swap "$1" "$2" ;;
    *) fail 'this is for hactl and its timers' ;;
esac
