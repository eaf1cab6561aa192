# Writes a row as the application does, through its own endpoint, and reads it. Standard input: MariaDB's options.
# $TABLE: one that nobody else has; $VALUE: what is written, quoted.
cat >"$R/app.cnf"
if ! command -v mariadb >/dev/null; then
    rm -f "$R/app.cnf"
    echo 'there is no client of MariaDB here: not tried'
    exit 0
fi
app() { timeout 10 mariadb --defaults-file="$R/app.cnf" --batch --raw --skip-column-names -e "$1" 2>&1; }
end=$(($(date +%s) + PATIENCE))
until said=$(app "DROP TABLE IF EXISTS $TABLE; CREATE TABLE $TABLE (said VARCHAR(100)); INSERT INTO $TABLE VALUES ($VALUE); SELECT said = $VALUE FROM $TABLE; DROP TABLE $TABLE") && [ "$said" = 1 ]; do
    if [ "$(date +%s)" -ge "$end" ]; then
        rm -f "$R/app.cnf"
        printf '%s\n' "$said"
        exit 1
    fi
    sleep 0.2
done
rm -f "$R/app.cnf"
echo 'wrote and read through its endpoint'
