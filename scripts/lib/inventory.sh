# What scripts of this repository read out of an inventory of theirs. Sourced by POSIX sh; no YAML parser: it knows the
# inventories' own way of writing, one host a line, and `vip` on one line or with one address a line.

# addresses_of INVENTORY: the addresses of all hosts.
addresses_of() {
    sed -n 's/^ *[a-z0-9_-]*: *{.*address: *\([0-9.]*\).*/\1/p' "$1"
}

# front_address INVENTORY: where visitors come in: the first virtual address, else the first host's.
front_address() {
    front=$(sed -n '/^vip:/,/^[a-z#]/{ s|^vip:.*[: ]\([0-9][0-9.]*\)/.*|\1|p; s|^ .*[: ]\([0-9][0-9.]*\)/.*|\1|p; }' "$1" | head -n 1)
    [ -n "$front" ] || front=$(addresses_of "$1" | head -n 1)
    printf '%s\n' "$front"
}
