#!/bin/sh
# Exits 0 when this Redis answers; one that still reads its log does not.
set -eu
REDISCLI_AUTH=$(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")
export REDISCLI_AUTH
[ "$(timeout 4 redis-cli -p "${REDIS_PORT:-6379}" ping)" = PONG ]
