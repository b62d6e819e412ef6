#!/usr/bin/env bash
# Brings Flashdrop up, or up to date, as a stack of Docker Swarm. Every step asks first what is there already, so it may
# be run again at any time: after a change, after a failure, after Ctrl-C.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
DEPLOY=$ROOT/deploy

STACK=flashdrop SKU=${DEMO_SKU:-demo} TIMEOUT=600 URL='' REPLICAS=${WEB_REPLICAS:-}
BUILD=yes SEED=yes K6='' INIT='' ONLY_SECRETS=''
NODES=1 NODE='' CONNECT=()

# shellcheck source-path=SCRIPTDIR source=lib/prerequisites.sh
source "$DEPLOY/lib/prerequisites.sh"
# shellcheck source-path=SCRIPTDIR source=lib/secrets.sh
source "$DEPLOY/lib/secrets.sh"
# shellcheck source-path=SCRIPTDIR source=lib/waiting.sh
source "$DEPLOY/lib/waiting.sh"

usage() {
  cat <<'HELP'
Usage: deploy/run-production.sh [options]

Builds the images, deploys deploy/stack.yml to this host's Docker Swarm, waits until the shop answers, and says where it
is. Run it on a manager node. It is safe to run again: what is there already stays.

  --web-replicas N   this many web tasks (default: as many as run; at first, what the stack file says)
  --run-k6           at the end, play the shoppers of k6/mixed.js; k6's verdict is the exit code
  --sku SKU          the demo sale to seed and to test (default: DEMO_SKU, or demo)
  --no-seed          no demo sale; without this one is made if it is missing, and left alone if it is there
  --skip-build       the images are there already: on every node, or in the registry of FLASHDROP_IMAGE
  --init-swarm       make this host a swarm of one node if it is in none
  --secrets-only     write the missing files of deploy/secrets/ and stop (compose.prod.yml needs them too)
  --stack NAME       name of the stack (default: flashdrop)
  --url URL          where shoppers find the shop (default: the first of ALLOWED_HOSTS, or 127.0.0.1; asked on this host)
  --timeout SECONDS  how long the migration, and then the shop, may take (default: 600)
  --help             this text

Environment: whatever deploy/stack.yml reads, such as ALLOWED_HOSTS, HTTPS_ONLY, HTTP_PORT (80) and HTTPS_PORT (443), and
  FLASHDROP_IMAGE    name of the image, with its registry where there is more than one node (default: flashdrop)
  FLASHDROP_VERSION  its tag (default: the git revision, with a mark of what is not committed)
  DEMO_STOCK, DEMO_OPENS_IN_SECONDS, DEMO_LASTS_SECONDS   the demo sale, when it is made; PROFILE and others: k6's

Secrets are files in deploy/secrets/. Missing ones are made, none is overwritten, none is printed.

Exit codes: 0 done; 2 an option; 3 a program or a file is missing; 4 the engine doesn't answer; 5 the swarm; 6 a port is
  taken; 7 secrets; 8 build or push; 9 deploy; 10 scale; 11 migration; 12 not ready in time, or rolled back; 13 seed;
  130 interrupted; with --run-k6 its own: 99 the shop failed the test, 108 there was nothing to test.
HELP
}

say() { printf '%s\n' "$*"; }
step() { printf '== %s\n' "$*"; }
warn() { printf 'note: %s\n' "$*" >&2; }
fail() { # CODE, what is wrong, what to do about it
  printf 'run-production: %s\n' "$2" >&2
  [[ -z ${3:-} ]] || printf '  do: %s\n' "$3" >&2
  exit "$1"
}
have() { command -v "$1" >/dev/null 2>&1; }
interrupted() {
  printf '\nStopped. Nothing is half-written; the same command goes on from here.\n' >&2
  exit 130
}

read_options() {
  while (($#)); do
    case $1 in
      --web-replicas | --sku | --stack | --url | --timeout) (($# > 1)) || fail 2 "$1 needs a value." "$0 --help" ;;&
      --web-replicas) REPLICAS=$2 && shift ;;
      --sku) SKU=$2 && shift ;;
      --stack) STACK=$2 && shift ;;
      --url) URL=${2%/} && shift ;;
      --timeout) TIMEOUT=$2 && shift ;;
      --run-k6) K6=yes ;;
      --no-seed) SEED='' ;;
      --skip-build) BUILD='' ;;
      --init-swarm) INIT=yes ;;
      --secrets-only) ONLY_SECRETS=yes ;;
      --help | -h) usage && exit 0 ;;
      *) fail 2 "'$1' is no option of this script." "$0 --help" ;;
    esac
    shift
  done
  [[ -z $REPLICAS || $REPLICAS =~ ^[1-9][0-9]{0,2}$ ]] || fail 2 "--web-replicas is '$REPLICAS': it has to be a number from 1 to 999."
  [[ $TIMEOUT =~ ^[1-9][0-9]{0,4}$ ]] || fail 2 "--timeout is '$TIMEOUT': it has to be a number of seconds."
  [[ $STACK =~ ^[a-z0-9][a-z0-9_-]*$ ]] || fail 2 "--stack is '$STACK': use small letters, digits, - and _."
  [[ $SKU =~ ^[a-z0-9][a-z0-9-]{0,63}$ ]] || fail 2 "--sku is '$SKU': use small letters, digits and -."
  [[ -z $URL || $URL =~ ^https?://[^/[:space:]]+$ ]] || fail 2 "--url is '$URL': it has to look like https://shop.example."
}

name_url() {
  local host=${ALLOWED_HOSTS:-} port=":${HTTP_PORT:-80}" scheme=http
  [[ -z $URL ]] || return 0
  host=${host%%,*} && host=${host// /}
  [[ -n $host && $host != [.*]* ]] || host=127.0.0.1
  if is_https; then scheme=https port=":${HTTPS_PORT:-443}"; fi
  [[ $scheme$port != http:80 && $scheme$port != https:443 ]] || port=''
  URL=$scheme://$host$port
  CONNECT=(--connect-to "::127.0.0.1:") # this host, under the shop's own name
}

short_hash() { sha256sum | cut -c1-12; }

# -- the images

name_version() {
  local revision
  export FLASHDROP_IMAGE=${FLASHDROP_IMAGE:-flashdrop}
  if [[ -z ${FLASHDROP_VERSION:-} ]]; then
    revision=$(git -C "$ROOT" rev-parse --short HEAD) \
      || fail 3 "git can't name this checkout's revision (its words are above)." "set FLASHDROP_VERSION"
    # Swarm restarts what has a new tag, so other changes need another tag.
    [[ -z $(git -C "$ROOT" status --porcelain) ]] || revision+=-dirty-$(changes | short_hash)
    FLASHDROP_VERSION=$revision
  fi
  export FLASHDROP_VERSION
}

changes() (
  cd "$ROOT"
  git diff --binary HEAD
  git ls-files -z --others --exclude-standard | xargs -0 -r sha256sum
)

has_registry() { [[ $FLASHDROP_IMAGE == */* && (${FLASHDROP_IMAGE%%/*} == *[.:]* || ${FLASHDROP_IMAGE%%/*} == localhost) ]]; }

build_images() {
  local target image
  [[ -n $BUILD ]] || return 0
  has_registry || ((NODES == 1)) \
    || fail 8 "The swarm has $NODES nodes, and FLASHDROP_IMAGE names no registry: the other nodes can't pull '$FLASHDROP_IMAGE'." \
    "FLASHDROP_IMAGE=registry.example/flashdrop $0; or load the images on every node (docker save, docker load) and use --skip-build"
  for target in app proxy; do
    image=$FLASHDROP_IMAGE:$FLASHDROP_VERSION
    [[ $target == app ]] || image=$FLASHDROP_IMAGE-proxy:$FLASHDROP_VERSION
    step "building $image"
    docker build --file "$DEPLOY/Dockerfile" --target "$target" --tag "$image" "$ROOT" \
      || fail 8 "$image can't be built (docker's words are above)." "mend that, then run this again"
    ! has_registry || docker push "$image" \
      || fail 8 "$image can't be pushed (docker's words are above)." "docker login ${FLASHDROP_IMAGE%%/*}"
  done
}

# -- the stack

deploy_stack() {
  local options=(--compose-file "$DEPLOY/stack.yml" --prune --resolve-image changed) service=${STACK}_migrate
  ! has_registry || options+=(--with-registry-auth)
  # Clients before Docker 26 never wait, and don't know the option.
  [[ $(docker stack deploy --help) != *--detach* ]] || options+=(--detach)
  MIGRATED=$(task_template) KNOWN=$(docker service ps --quiet --no-trunc "$service" 2>/dev/null || true)
  step "deploying $STACK, version $FLASHDROP_VERSION"
  docker stack deploy "${options[@]}" "$STACK" \
    || fail 9 "The stack can't be deployed (docker's words are above)." "mend that, then run this again; what runs keeps running"
}

web_replicas() { docker service inspect --format '{{with .Spec.Mode.Replicated}}{{.Replicas}}{{end}}' "${STACK}_web" 2>/dev/null || true; }
task_template() { docker service inspect --format '{{json .Spec.TaskTemplate}}' "${STACK}_migrate" 2>/dev/null || true; }

scale_web() {
  [[ -n $REPLICAS && $(web_replicas) != "$REPLICAS" ]] || return 0
  step "scaling web to $REPLICAS"
  docker service scale --detach "${STACK}_web=$REPLICAS" >/dev/null \
    || fail 10 "web can't be scaled (docker's words are above)." "docker service scale ${STACK}_web=$REPLICAS"
}

seed() {
  local task name options=()
  [[ -n $SEED ]] || return 0
  step "seeding the sale '$SKU'"
  task=$(task_here worker)
  [[ -n $task ]] || task=$(task_here web)
  [[ -n $task ]] || fail 13 "No task of the shop runs on this node, so the demo sale can't be made from here." \
    "on a node with one (docker service ps ${STACK}_worker): docker exec CONTAINER python manage.py seed_demo --sku $SKU; then --no-seed here"
  for name in DEMO_STOCK DEMO_OPENS_IN_SECONDS DEMO_LASTS_SECONDS; do [[ -z ${!name:-} ]] || options+=(--env "$name=${!name}"); done
  # A web task counts in files that a passing process must not add to.
  docker exec "${options[@]}" "$task" env -u PROMETHEUS_MULTIPROC_DIR python manage.py seed_demo --sku "$SKU" \
    || fail 13 "The demo sale can't be made (its words are above)." "docker service logs ${STACK}_worker"
}

tell() {
  local name ports rest
  step "ready"
  say "   shop        $URL/"
  say "   admin       $URL/${ADMIN_PATH:-admin/}   user admin, password in deploy/secrets/admin_password"
  for name in grafana prometheus; do
    ports=$(docker service inspect --format '{{range .Endpoint.Ports}}{{.PublishedPort}} {{end}}' "${STACK}_$name" 2>/dev/null || true)
    ports=${ports%% *} rest=''
    [[ $name == prometheus ]] || rest="   user admin, password in deploy/secrets/grafana_password"
    if [[ -n $ports ]]; then
      printf '   %-10s  http://%s:%s/%s\n' "$name" "${HOSTNAME:-localhost}" "$ports" "$rest"
    else
      printf '   %-10s  inside the swarm only: the head of deploy/stack.yml tells how to reach it%s\n' "$name" "$rest"
    fi
  done
}

main() {
  local verdict=0
  trap clean_up EXIT
  trap interrupted INT TERM
  read_options "$@"
  if [[ -n $ONLY_SECRETS ]]; then
    make_secrets
    say "deploy/secrets/ is complete."
    return
  fi
  check_programs
  check_engine
  check_swarm
  check_ports
  check_stores
  name_url
  name_version
  step "secrets"
  make_secrets
  SECRETS_VERSION=$(secrets_version)
  [[ -n $REPLICAS ]] || REPLICAS=$(web_replicas)
  export SECRETS_VERSION
  [[ -z $REPLICAS ]] || export WEB_REPLICAS=$REPLICAS
  build_images
  deploy_stack
  scale_web
  migrate
  step "waiting for the shop"
  await 12 is_ready docker stack ps --no-trunc "$STACK"
  seed
  if [[ -n $K6 ]]; then
    step "shoppers come (k6/mixed.js)"
    k6 run -e "API_URL=$URL" -e "SKU=$SKU" "$ROOT/k6/mixed.js" || verdict=$?
  fi
  tell
  return "$verdict"
}

main "$@"
