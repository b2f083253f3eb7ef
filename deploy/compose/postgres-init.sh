#!/bin/sh
# Two databases, two roles: Prefect's and the ledger's. Run once by the image, when the volume is new.
set -eu
role() { # NAME PASSWORD-FILE
    # The password goes through standard input: arguments can be seen by every process.
    psql --set ON_ERROR_STOP=1 --username postgres --dbname postgres --quiet <<SQL
CREATE ROLE $1 LOGIN PASSWORD '$(cat "$2")';
CREATE DATABASE $1 OWNER $1 ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE $1 FROM PUBLIC;
SQL
}
role prefect "${SECRETS:-/run/secrets}/prefect_database_password"
role slidemill "${SECRETS:-/run/secrets}/ledger_password"
