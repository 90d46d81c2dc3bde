#!/bin/sh
# Makes the workers' account: it may read the tables of one database, over TLS, and nothing else.
# DATABASE is the name of the database, WORKER_DATABASE_PASSWORD the password. May be run again.
set -eu
: "${DATABASE:?the name of the database}" "${WORKER_DATABASE_PASSWORD:?the password of the account worker}"
case $DATABASE in *[!A-Za-z0-9_]*) echo "DATABASE=$DATABASE: letters, digits and _ are expected" >&2; exit 2 ;; esac
case $WORKER_DATABASE_PASSWORD in *[\'\\]*) echo "the password may have no ' and no \\" >&2; exit 2 ;; esac

"$(command -v mariadb || command -v mysql)" <<END
CREATE USER IF NOT EXISTS worker@'%' IDENTIFIED BY '$WORKER_DATABASE_PASSWORD';
ALTER USER worker@'%' IDENTIFIED BY '$WORKER_DATABASE_PASSWORD' REQUIRE SSL;
GRANT SELECT ON \`$DATABASE\`.* TO worker@'%';
END
