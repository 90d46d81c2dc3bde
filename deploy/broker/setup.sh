#!/bin/sh
# Sets up a running RabbitMQ node for Nowait: virtual host, users, queues; removes its open account.
# SERVER_PASSWORD and WORKER_PASSWORD are the passwords that the two users get. May be run again.
set -eu
: "${SERVER_PASSWORD:?the password of the user server}" "${WORKER_PASSWORD:?the password of the user worker}"

rabbitmqctl --quiet import_definitions "$(dirname "$0")/definitions.json"
rabbitmqctl --quiet change_password server "$SERVER_PASSWORD"
rabbitmqctl --quiet change_password worker "$WORKER_PASSWORD"
if rabbitmqctl --quiet list_users --no-table-headers | grep -q '^guest[[:space:]]'; then
    rabbitmqctl --quiet delete_user guest
fi
