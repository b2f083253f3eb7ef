#!/usr/bin/env bash
# Installs what the slow tests need and pip cannot bring, on Debian and Ubuntu, as root:
#   postgresql   its server programs (initdb, pg_ctl): the tests of the service start a PostgreSQL of their own in a
#                temporary folder. No cluster is made and no service is started on this machine.
# Does nothing when it is there already. Exit code 1, with one line that says why, when it cannot be had.
set -euo pipefail

say() { echo "install-debian: $*" >&2; }
fail() { say "$*"; exit 1; }

has_postgresql() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null
}

has_postgresql && exit 0

wanted="the server programs of PostgreSQL (initdb, pg_ctl) are missing, so the tests of the service on it are skipped"
command -v apt-get >/dev/null || fail "$wanted; install PostgreSQL 14 or newer with this system's package manager"
[ "$(id -u)" = 0 ] || fail "$wanted; run as root: scripts/install-debian.sh"

export DEBIAN_FRONTEND=noninteractive
say "installing postgresql: the slow tests start a server of their own"
apt-get update -qq </dev/null || say "the package lists could not be brought up to date; trying with those that are here"
apt-get install -qq --no-install-recommends postgresql-common </dev/null >/dev/null || fail "apt-get could not install postgresql-common"
# Else the package makes a cluster and starts it at every boot, which nobody here wants.
mkdir -p /etc/postgresql-common/createcluster.d
echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/slidemill.conf
apt-get install -qq --no-install-recommends postgresql </dev/null >/dev/null || fail "apt-get could not install postgresql"
has_postgresql || fail "postgresql was installed, but brought no initdb"
say "done"
