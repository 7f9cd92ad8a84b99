#!/bin/bash
# Makes the cluster once, then runs the server.
#
# POSTGRES_PASSWORD  needed
# POSTGRES_USER      the superuser; "postgres" unless told
# POSTGRES_DB        a database to create; the user's name unless told
#
# Arguments that start with a dash are the server's, as with the official image:
#   docker run ... IMAGE -c max_connections=300
set -euo pipefail

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

make_cluster() {
  if [[ -z ${POSTGRES_PASSWORD:-} ]]; then
    echo "POSTGRES_PASSWORD is missing: set it to the password that the superuser shall have" >&2
    exit 1
  fi
  initdb --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
    --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  if [[ $database != postgres ]]; then
    printf 'CREATE DATABASE "%s"\n' "${database//\"/\"\"}" | postgres --single -j postgres
  fi
}

[[ ${1:-} == -* ]] && set -- postgres "$@"
if [[ ${1:-} == postgres ]]; then
  [[ -s $PGDATA/PG_VERSION ]] || make_cluster
  shift
  set -- postgres -c 'listen_addresses=*' "$@"
fi
exec "$@"
