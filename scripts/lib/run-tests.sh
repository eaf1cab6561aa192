#!/bin/sh
# Runs all tests, as root. Tests on lab hosts wait more than they compute, and each has subnets of its own: they run side by
# side, two at a time ($HACTL_LAB_TESTS says how many), and tell what they printed when they fail.
set -eu

# What these see depends on how fast the machine is: gaps that a client notices. They run alone; names are separated by blanks.
alone='lab_bench'

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"

if [ "${1-}" = one ]; then
    name=$(basename "$2")
    name=${name%-*}
    said=target/lab-tests/$name.txt
    begun=$(date +%s)
    # One after the other inside: so many hosts run at once as tests do.
    if RUST_TEST_THREADS=1 CARGO_MANIFEST_DIR=$root "$2" >"$said" 2>&1; then
        verdict=ok
    else
        verdict=FAILED
        sed "s/^/$name: /" "$said"
    fi
    printf '%s %s, %s s\n' "$name" "$verdict" "$(($(date +%s) - begun))"
    [ "$verdict" = ok ]
    exit
fi

mkdir -p target/lab-tests
cargo test --locked --no-run 2>target/lab-tests/built.txt || { cat target/lab-tests/built.txt >&2; exit 1; }
lab=$(sed -n 's/^ *Executable tests\/lab_[a-z_]*\.rs (\(.*\))$/\1/p' target/lab-tests/built.txt)
[ "$(printf '%s\n' "$lab" | wc -l)" -eq "$(find tests -maxdepth 1 -name 'lab_*.rs' | wc -l)" ] || {
    echo "test: cargo built other lab tests than tests/ has:" >&2
    cat target/lab-tests/built.txt >&2
    exit 1
}
others=$(find tests -maxdepth 1 -name '*.rs' ! -name 'lab_*' | sort | sed 's|^tests/\(.*\)\.rs$|--test \1|')
failed=
# Words of ours: names of files in tests/.
# shellcheck disable=SC2086
cargo test --locked --no-fail-fast --lib --bins $others || failed=yes
cargo test --locked --doc || failed=yes
pattern="/\\($(printf %s "$alone" | sed 's/ /\\|/g')\\)-"
# The longest first, as far as a file's length tells.
longest_first() {
    while read -r exe; do
        name=$(basename "$exe")
        printf '%s %s\n' "$(wc -c <"tests/${name%-*}.rs")" "$exe"
    done | sort -rn | cut -d ' ' -f 2
}
printf '%s\n' "$lab" | grep -v "$pattern" | longest_first >target/lab-tests/together.txt
printf '%s\n' "$lab" | grep "$pattern" >target/lab-tests/alone.txt || :
xargs -r -n 1 -P "${HACTL_LAB_TESTS:-2}" sh scripts/lib/run-tests.sh one <target/lab-tests/together.txt || failed=yes
xargs -r -n 1 sh scripts/lib/run-tests.sh one <target/lab-tests/alone.txt || failed=yes
[ -z "$failed" ] || { echo "test: something failed, see above" >&2; exit 1; }
