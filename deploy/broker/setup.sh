#!/bin/sh
# Sets up a running RabbitMQ node for Nowait: virtual host, users, queues; removes its open account.
# SERVER_PASSWORD and WORKER_PASSWORD are the passwords that the two users get. May be run again.
# With CLUSTER=1, on one node of a cluster that is complete, the queues of tasks outlive the loss of a node.
set -eu
: "${SERVER_PASSWORD:?the password of the user server}" "${WORKER_PASSWORD:?the password of the user worker}"

here=$(dirname "$0")
if [ "${CLUSTER:-0}" = 1 ]; then
    definitions=$(mktemp)
    trap 'rm -f "$definitions"' EXIT
    python3 "$here/definitions.py" >"$definitions"
    # rabbitmqctl may be another user's.
    chmod 644 "$definitions"
else
    definitions=$here/definitions.json
fi
users=$(rabbitmqctl --quiet list_users --no-table-headers)
is_there() { printf '%s\n' "$users" | grep -q "^$1[[:space:]]"; }
# One that is there is changed, and so has a password at every moment. By standard input: anybody on the machine can read
# the command line of a program. RabbitMQ 4 reads it only where the command has no options.
set_password() {
    if is_there "$1"; then verb=change_password; else verb=add_user; fi
    printf '%s\n' "$2" | rabbitmqctl "$verb" "$1" >/dev/null
}
set_password server "$SERVER_PASSWORD"
set_password worker "$WORKER_PASSWORD"
rabbitmqctl --quiet import_definitions "$definitions"
if is_there guest; then
    rabbitmqctl --quiet delete_user guest
fi
