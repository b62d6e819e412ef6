#!/bin/sh
# Starts mongod with the members' common key. mongod refuses a key file that others may read, as a mounted secret is: it
# gets a copy of its own, in memory. Further arguments go to mongod.
set -eu
umask 077
key=$(mktemp)
cat "${MONGODB_KEYFILE:-/run/secrets/mongodb_keyfile}" >"$key"
chmod 0400 "$key"
# The image's entrypoint makes the root account when the volume is new and MONGO_INITDB_ROOT_USERNAME is set.
exec ${MONGODB_ENTRYPOINT:-docker-entrypoint.sh} mongod --bind_ip_all --replSet rs0 --keyFile "$key" "$@"
