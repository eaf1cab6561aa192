# What MariaDB takes up while it runs: the variables of $LIVE. Those that left the file go back to their defaults.
variables() { sed -n 's/^\([a-z0-9_]*\) = .*/\1/p' "$1" 2>/dev/null; }
act() {
    [ "$1" = reload ] || { systemctl "$1" "$2"; return; }
    {
        # Sizes are numbers there.
        sed -n 's/^\([a-z0-9_]*\) = \(.*\)$/SET GLOBAL \1 = \2;/p' "$LIVE" |
            sed 's/\([0-9]\)[Kk];$/\1*1024;/; s/\([0-9]\)[Mm];$/\1*1048576;/; s/\([0-9]\)[Gg];$/\1*1073741824;/'
        { variables "$(kept "$LIVE")"; variables "$R/live"; } | sort -u | while read -r _name; do
            variables "$LIVE" | grep -qx -- "$_name" || echo "SET GLOBAL $_name = DEFAULT;"
        done
    } >"$R/set"
    # When the file from before comes back, what this one sets must go.
    cat "$LIVE" >"$R/live"
    mariadb --no-defaults --skip-ssl --connect-timeout=5 <"$R/set"
}
