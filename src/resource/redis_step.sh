# redis WORDS...: what the daemon answers; without words it reads commands. The password is in the environment.
redis() { timeout 10 redis-cli -h 127.0.0.1 -p "$port" "$@" 2>&1; }

# redis_login FILE...: the first password in these files that the daemon takes. Fails when it takes none.
redis_login() {
    for _file in "$@"; do
        [ -r "$_file" ] || continue
        redis_password "$_file"
        [ "$(redis PING)" != PONG ] || return 0
    done
    return 1
}

# redis_do FILE: a command that must answer OK. What it answers otherwise may quote the command, and is not shown.
redis_do() { [ "$(redis <"$1")" = OK ] || fail 'Redis refused the new password'; }
