# The sites of a host. Reads only. $1: the application's folder; $2: where dropped sites are kept.
for config in "$1"/sites/*/site_config.json; do
    [ -f "$config" ] || continue
    folder=${config%/*}
    mark site
    printf 'name\t%s\n' "${folder##*/}"
    # Passwords stay where they are.
    for key in db_name maintenance_mode pause_scheduler; do
        sed -n "s/.*\"$key\": *\"\{0,1\}\([A-Za-z0-9_]*\).*/$key\t\1/p" "$config"
    done
    kb=$(timeout 5 du -sk -- "$folder" 2>/dev/null) && printf 'kb\t%s\n' "${kb%%[!0-9]*}"
done
mark app
if head=$(head -c 40 "$1/current/.git/HEAD" 2>/dev/null); then printf 'commit\t%s\n' "$head"; fi
[ ! -r /etc/nginx/hactl/sites.conf ] || sed -n 's/^ *set \$site \([^;]*\);$/served\t\1/p' /etc/nginx/hactl/sites.conf
for folder in "$2"/*.dropping; do [ ! -e "$folder" ] || printf 'dropping\t%s\n' "${folder##*/}"; done
mark databases
if command -v mariadb >/dev/null; then
    ask() { timeout 20 mariadb --no-defaults --skip-ssl --batch --raw --skip-column-names --force --connect-timeout=5 2>/dev/null; }
    echo mariadb
    printf '%s\n' "SELECT 'answers'" | ask
    exec 3>&1
    queries=$(
        printf '%s\n' "SELECT 'database',S.SCHEMA_NAME,COALESCE(SUM(T.DATA_LENGTH+T.INDEX_LENGTH),0),COUNT(T.TABLE_NAME),
            COALESCE(MAX(T.TABLE_NAME='tabDefaultValue'),0),COALESCE(MAX(T.TABLE_NAME LIKE '\\_\\_hactl\\_unfinished\\_%'),0)
            FROM information_schema.SCHEMATA S LEFT JOIN information_schema.TABLES T ON T.TABLE_SCHEMA=S.SCHEMA_NAME
            WHERE S.SCHEMA_NAME NOT IN ('mysql','information_schema','performance_schema','sys') GROUP BY 2" | ask |
            while IFS='	' read -r word name bytes tables frappe unfinished; do
                printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$word" "$name" "$bytes" "$tables" "$frappe" "$unfinished" >&3
                case $frappe$name in 1*[!A-Za-z0-9_]* | 0*) continue ;; esac
                printf "SELECT 'apps','%s',defvalue FROM \`%s\`.tabDefaultValue WHERE parent='__global' AND defkey='installed_apps';\n" "$name" "$name"
                printf "SELECT 'version','%s',app_name,app_version FROM \`%s\`.\`tabInstalled Application\`;\n" "$name" "$name"
                printf "SELECT 'scheduler','%s',value FROM \`%s\`.tabSingles WHERE doctype='System Settings' AND field='enable_scheduler';\n" "$name" "$name"
            done
    )
    exec 3>&-
    printf '%s\n' "$queries" | ask
fi
