#!/bin/sh
# Writes secrets/ beside compose.yaml: passwords nobody has to type, and the one that people use. Existing files stay.
#   compose/make-secrets.sh NAME        asks for the password of user NAME on standard input
# HASH_PASSWORD replaces the command that hashes it, where no container engine is at hand.
set -eu
umask 022
cd "$(dirname "$0")/.."
user=${1:?the name of the user who may open the interface}
case $user in *[!a-zA-Z0-9_.-]*) echo "make-secrets: letters, digits, . _ - only" >&2; exit 2 ;; esac
hash_password=${HASH_PASSWORD:-docker run --rm --interactive --network none caddy:2.10.2-alpine caddy hash-password}

mkdir -p secrets
# Files are read by the users inside containers, so the folder, not the files, keeps others of this machine out.
chmod 0700 secrets
put() { [ -e "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"; }
made() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

for name in postgres_password prefect_database_password ledger_password redis_password; do put "$name" "$(made)"; done
put prefect_database_url "postgresql+asyncpg://prefect:$(cat secrets/prefect_database_password)@postgres:5432/prefect"
put ledger_url "postgresql+psycopg://slidemill:$(cat secrets/ledger_password)@postgres:5432/slidemill"
put redis_conf "requirepass $(cat secrets/redis_password)"
put redis_url "redis://default:$(cat secrets/redis_password)@redis:6379/0"
put redis_docket_url "redis://default:$(cat secrets/redis_password)@redis:6379/1"

if [ ! -e secrets/api_auth ]; then
    [ -t 0 ] && printf 'password for %s: ' "$user" >&2
    IFS= read -r password
    [ "${#password}" -ge 12 ] || { echo "make-secrets: at least 12 characters" >&2; exit 2; }
    hashed=$(printf '%s\n' "$password" | $hash_password)
    # One credential for the proxy and the API behind it: both read the same header of a request.
    put proxy_users "$user $hashed"
    put api_auth "$user:$password"
fi
echo "secrets/ is complete; keep a copy of it with the backups, apart from them" >&2
