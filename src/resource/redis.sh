# redis_port CONFIG: sets $port.
redis_port() {
    port=
    while read -r _key _value; do
        [ "$_key" != port ] || port=$_value
    done <"$1"
}

# redis_password FILE: the password that a file of ours holds, in $REDISCLI_AUTH; $REDIS_USER is what it says of older ones.
redis_password() {
    REDISCLI_AUTH= REDIS_USER=
    while IFS= read -r _line; do
        case $_line in
        requirepass\ \"*\") _line=${_line#requirepass \"} REDISCLI_AUTH=${_line%\"} ;;
        user\ *) REDIS_USER=$_line ;;
        esac
    done <"$1"
    case $REDISCLI_AUTH in
    *\\*) REDISCLI_AUTH=$(printf '%s\n' "$REDISCLI_AUTH" | sed 's/\\\(.\)/\1/g') ;;
    esac
    export REDISCLI_AUTH
}
