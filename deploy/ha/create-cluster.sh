#!/bin/sh
# Makes six nodes one Cluster of three parts with a replica each; does nothing where they are one already.
# Usage: create-cluster.sh ADDRESS:PORT...   Addresses, not names: nodes know each other by them.
set -eu
REDISCLI_AUTH=$(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")
export REDISCLI_AUTH
deadline=$(($(date +%s) + ${WAIT_SECONDS:-120}))

ask() { # ADDRESS:PORT COMMAND...
  node=$1
  shift
  timeout 5 redis-cli -h "${node%:*}" -p "${node##*:}" "$@" 2>/dev/null
}

in_time() {
  if [ "$(date +%s)" -ge "$deadline" ]; then
    echo "$1" >&2
    exit 1
  fi
  sleep 0.5
}

for node in "$@"; do
  until [ "$(ask "$node" ping)" = PONG ]; do
    in_time "$node does not answer, or refuses the password."
  done
done

known=$(ask "$1" cluster info | tr -d '\r' | sed -n 's/^cluster_known_nodes://p')
if [ "$known" -gt 1 ]; then
  echo "The Cluster stands already, with $known nodes."
else
  # Its many words are of interest only when it fails.
  said=$(redis-cli --cluster create "$@" --cluster-replicas 1 --cluster-yes 2>&1) || {
    echo "$said" >&2
    exit 1
  }
fi

for node in "$@"; do
  until ask "$node" cluster info | grep -q '^cluster_state:ok'; do
    in_time "$node does not find the Cluster complete; redis-cli --cluster check $1 tells more."
  done
done
echo "The Cluster is complete."
