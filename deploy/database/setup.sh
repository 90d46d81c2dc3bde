#!/bin/sh
# Makes the accounts of servers, workers and scheduler in one database: over TLS, with the rights that each needs, and no
# other. Run it behind the migration (python -m nowait.jobs): the rights are those to its tables. May be run again.
# DATABASE is the name of the database. DATABASE_TLS=0 is for a database that is reached on this machine alone.
set -eu
: "${DATABASE:?the name of the database}" "${SERVER_DATABASE_PASSWORD:?the password of the account server}"
: "${WORKER_DATABASE_PASSWORD:?the password of the account worker}"
: "${SCHEDULER_DATABASE_PASSWORD:?the password of the account scheduler}"
case $DATABASE in *[!A-Za-z0-9_]*) echo "DATABASE=$DATABASE: letters, digits and _ are expected" >&2; exit 2 ;; esac
case $SERVER_DATABASE_PASSWORD$WORKER_DATABASE_PASSWORD$SCHEDULER_DATABASE_PASSWORD in
*[\'\\]*) echo "a password may have no ' and no \\" >&2; exit 2 ;;
esac
require=SSL
[ "${DATABASE_TLS:-1}" = 1 ] || require=NONE
client=$(command -v mariadb || command -v mysql)

# In a right to a whole database, _ is any character.
database=$(printf %s "$DATABASE" | sed 's/_/\\_/g')

tables=$("$client" --batch --skip-column-names -e "SHOW TABLES LIKE 'deliveries'" "$DATABASE")
[ -n "$tables" ] || { echo "the database $DATABASE has no table deliveries: run python -m nowait.jobs first" >&2; exit 1; }

"$client" <<END
CREATE USER IF NOT EXISTS server@'%' IDENTIFIED BY '$SERVER_DATABASE_PASSWORD';
ALTER USER server@'%' IDENTIFIED BY '$SERVER_DATABASE_PASSWORD' REQUIRE $require;
GRANT SELECT, INSERT, UPDATE, DELETE ON \`$DATABASE\`.jobs TO server@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON \`$DATABASE\`.schedules TO server@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON \`$DATABASE\`.deliveries TO server@'%';
GRANT SELECT ON \`$DATABASE\`.nowait_migrations TO server@'%';

CREATE USER IF NOT EXISTS worker@'%' IDENTIFIED BY '$WORKER_DATABASE_PASSWORD';
ALTER USER worker@'%' IDENTIFIED BY '$WORKER_DATABASE_PASSWORD' REQUIRE $require;
GRANT SELECT ON \`$database\`.* TO worker@'%';
GRANT UPDATE (state, due, attempt, failures, version, progress, result, error, worker, eta, started, finished, history)
    ON \`$DATABASE\`.jobs TO worker@'%';

CREATE USER IF NOT EXISTS scheduler@'%' IDENTIFIED BY '$SCHEDULER_DATABASE_PASSWORD';
ALTER USER scheduler@'%' IDENTIFIED BY '$SCHEDULER_DATABASE_PASSWORD' REQUIRE $require;
GRANT SELECT (id, state, owner, schedule, tick),
    INSERT (id, owner, name, queue, parameters, retry, webhook, state, due, created, schedule, tick)
    ON \`$DATABASE\`.jobs TO scheduler@'%';
GRANT SELECT, UPDATE (due, last_tick, last_job) ON \`$DATABASE\`.schedules TO scheduler@'%';
GRANT SELECT ON \`$DATABASE\`.nowait_migrations TO scheduler@'%';
END
