# shellcheck shell=bash
# Waiting, by asking once a second. Read by run-production.sh.

# They run once and end: nothing to wait for among what stays up.
ONE_SHOT=" migrate mongodb-init "
PENDING='' LAST_FAILED='' MIGRATED='' KNOWN=''

await() { # CODE CHECK COMMAND...: asks CHECK once a second, says what is PENDING when that changes, and gives up in time
  local code=$1 check=$2 said='' end=$((SECONDS + TIMEOUT))
  shift 2
  while PENDING='' && ! "$check"; do
    [[ $PENDING == "$said" ]] || say "   waiting for $PENDING"
    said=$PENDING
    if ((SECONDS >= end)); then
      "$@" >&2 || true
      fail "$code" "After $TIMEOUT s still waiting for $PENDING." "look with: $*"
    fi
    sleep 1
  done
}

newest_migration() { # its id, state and error; then how many tries have failed since the deployment
  local ids tasks id state rest
  mapfile -t ids < <(docker service ps --quiet --no-trunc "${STACK}_migrate" 2>/dev/null)
  ((${#ids[@]})) || return 0
  tasks=$(docker inspect --type task --format '{{.CreatedAt}}|{{.ID}}|{{.Status.State}}|{{.Status.Err}}' "${ids[@]}" | sort -r | cut -d '|' -f 2-)
  printf '%s\n' "${tasks%%$'\n'*}"
  while IFS='|' read -r id state rest; do [[ $state != failed || $KNOWN == *"$id"* ]] || printf '.'; done <<<"$tasks"
}

migrate() {
  local id state rest
  step "migrating"
  if [[ $(task_template) == "$MIGRATED" ]]; then # nothing has changed: no new task will come by itself
    IFS='|' read -r id state rest < <(newest_migration) || true
    if [[ ${state:-} =~ ^(failed|rejected|shutdown|orphaned|)$ ]]; then
      docker service update --force --detach "${STACK}_migrate" >/dev/null \
        || fail 11 "The migration can't be started again." "docker service update --force ${STACK}_migrate"
    else
      KNOWN=''
    fi
  fi
  await 11 has_migrated docker service logs --raw --tail 20 "${STACK}_migrate"
}

has_migrated() {
  local id state error tries
  { IFS='|' read -r id state error && read -r tries; } < <(newest_migration) || true
  PENDING="the migration, which is $state${tries:+ after ${#tries} failed tries}"
  if [[ -z ${id:-} || $KNOWN == *"$id"* ]]; then
    PENDING="the migration to begin"
  elif [[ $state == complete ]]; then
    return 0
  elif [[ $state == failed || $state == rejected ]]; then
    # Where swarm tries once more, a newer task follows at once.
    if [[ $LAST_FAILED == "$id" ]]; then
      docker service logs --raw --tail 20 "${STACK}_migrate" >&2 || true
      fail 11 "The migration failed: $error. Its last words are above." "mend that, then run this again"
    fi
    LAST_FAILED=$id
  fi
  return 1
}

is_ready() {
  local services names=() name mode replicas state missing=''
  services=$(docker stack services --format '{{.Name}}|{{.Mode}}|{{.Replicas}}' "$STACK") || { PENDING="docker to answer" && return 1; }
  while IFS='|' read -r name mode replicas; do
    [[ -n $name && $mode != *job && $ONE_SHOT != *" ${name#"${STACK}_"} "* ]] || continue
    names+=("$name") replicas=${replicas%% *}
    [[ ${replicas%/*} == "${replicas#*/}" ]] || missing+=", ${name#"${STACK}_"} $replicas"
  done <<<"$services"
  ((${#names[@]})) || { PENDING="the stack's services" && return 1; }
  while read -r name state; do
    case ${state:-} in
      updating) missing+=", ${name#"${STACK}_"} is being updated" ;;
      paused | rollback_*)
        docker service ps --no-trunc "$name" >&2 || true
        fail 12 "The new version of ${name#"${STACK}_"} didn't come up; swarm says: $state." "docker service logs $name" ;;
    esac
  done < <(docker service inspect --format '{{.Spec.Name}} {{with .UpdateStatus}}{{.State}}{{end}}' "${names[@]}")
  PENDING=${missing#, }
  [[ -z $missing ]] && answers /healthz && answers / && says_ready
}

answers() { curl --silent --fail --output /dev/null --max-time 5 "${CONNECT[@]}" "$URL$1" || { PENDING="$URL$1 to answer" && return 1; }; }

# /readyz is not for the public, so a web task is asked from within; with none on this node its health check has to do.
says_ready() {
  local task
  task=$(task_here web)
  [[ -z $task ]] || docker exec "$task" python healthcheck.py 8000 /readyz >/dev/null 2>&1 || { PENDING="/readyz of a web task to say ready" && return 1; }
}

task_here() { # SERVICE: the container of one of its tasks on this node
  local ids
  ids=$(docker ps --quiet --filter "label=com.docker.swarm.service.name=${STACK}_$1")
  printf '%s' "${ids%%$'\n'*}"
}
