#!/bin/sh
# Starts a Sentinel. What it has learned since (who is the primary, who the others are) is in its file, on the volume; the
# password is written there anew at each start.
#
#   SENTINEL_NAME         under which others know it
#   SENTINEL_PORT         default 26379
#   REDIS_PRIMARY         host:port of the first primary
#   REDIS_SERVICE         what it calls it (default shop)
#   REDIS_PASSWORD_FILE   default /run/secrets/redis_password
#   SENTINEL_DIR          default /data
#   SENTINEL_DOWN_MS      silence after which a primary counts as gone (default 5000)
set -eu
umask 077
folder=${SENTINEL_DIR:-/data}
file=$folder/sentinel.conf
service=${REDIS_SERVICE:-shop}
password=$(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")
case $password in
  '' | *[!A-Za-z0-9._~-]*)
    echo 'The password of Redis must be letters, digits and . _ ~ - only.' >&2
    exit 1
    ;;
esac

if [ ! -s "$file" ]; then
  # Two of three have to agree. A failover that does not finish is tried again after failover-timeout.
  cat >"$file" <<EOF
port ${SENTINEL_PORT:-26379}
dir $folder
protected-mode no
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $SENTINEL_NAME
sentinel announce-port ${SENTINEL_PORT:-26379}
sentinel monitor $service ${REDIS_PRIMARY%:*} ${REDIS_PRIMARY##*:} 2
sentinel down-after-milliseconds $service ${SENTINEL_DOWN_MS:-5000}
sentinel failover-timeout $service 15000
sentinel parallel-syncs $service 1
EOF
fi
# The server's name has to stand before its password.
kept=$(grep -v "^sentinel auth-pass " "$file")
printf '%s\nsentinel auth-pass %s %s\n' "$kept" "$service" "$password" >"$file.new"
mv "$file.new" "$file"
# The same program under another name; not every system has that name.
exec redis-server "$file" --sentinel
