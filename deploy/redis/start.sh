#!/bin/sh
# Starts Redis with the password of a file, which is neither an argument nor in the environment: both could be read by others.
#
#   REDIS_CONF            the settings; more of them may follow, separated by spaces (default /usr/local/etc/redis/redis.conf)
#   REDIS_PASSWORD_FILE   default /run/secrets/redis_password
#   REDIS_PORT            default 6379
#   REDIS_DIR             default /data
#   REDIS_NAME            under which others know this server; needed with Sentinels or in a Cluster
#   REDIS_PRIMARY         whose replica this is, where no Sentinel knows better
#   REDIS_SENTINELS       host:port, separated by spaces: they are asked who the primary is, so that a former primary that
#                         comes back does not take orders for itself
#   REDIS_SERVICE         what the Sentinels call it (default shop)
set -eu
umask 077

password=$(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")
# It stands between quotes in the settings and in URLs.
case $password in
  '' | *[!A-Za-z0-9._~-]*)
    echo 'The password of Redis must be letters, digits and . _ ~ - only.' >&2
    exit 1
    ;;
esac
port=${REDIS_PORT:-6379}
primary=${REDIS_PRIMARY:-}

for sentinel in ${REDIS_SENTINELS:-}; do
  found=$(
    REDISCLI_AUTH=$password timeout 2 redis-cli -h "${sentinel%:*}" -p "${sentinel##*:}" --no-auth-warning \
      sentinel get-master-addr-by-name "${REDIS_SERVICE:-shop}" 2>/dev/null | head -n 2 | paste -s -d: -
  ) || found=
  case $found in
    *:[0-9]*)
      primary=$found
      break
      ;;
  esac
done

own=$(mktemp -d)/redis.conf
{
  for file in ${REDIS_CONF:-/usr/local/etc/redis/redis.conf}; do
    echo "include $file"
  done
  echo "port $port"
  echo "dir ${REDIS_DIR:-/data}"
  echo "requirepass $password"
  echo "masterauth $password"
  if [ -n "${REDIS_NAME:-}" ]; then
    echo "replica-announce-ip $REDIS_NAME"
    echo "replica-announce-port $port"
  fi
  if [ -n "$primary" ] && [ "$primary" != "${REDIS_NAME:-}:$port" ]; then
    echo "replicaof ${primary%:*} ${primary##*:}"
  fi
} >"$own"
exec redis-server "$own" "$@"
