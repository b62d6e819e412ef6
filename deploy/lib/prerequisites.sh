# shellcheck shell=bash
# What must be there before anything is made or changed. Read by run-production.sh.

# What the stack file reserves for a whole shop on one node, and a little for the host.
LEAST_MEMORY=$((4 * 1024 ** 3)) LEAST_CPUS=3
STORES=flashdrop.stores=true

check_programs() {
  local name
  have docker || fail 3 "docker is not installed here." "install Docker Engine: https://docs.docker.com/engine/install/"
  for name in curl sha256sum; do have "$name" || fail 3 "$name is not installed here." "install it with the system's package manager"; done
  [[ -n ${FLASHDROP_VERSION:-} ]] || have git \
    || fail 3 "git is not installed here, and names the version." "install git, or set FLASHDROP_VERSION"
  [[ -z $K6 ]] || have k6 \
    || fail 3 "--run-k6 needs k6, which is not installed here." \
      "see https://grafana.com/docs/k6/latest/set-up/install-k6/, or leave --run-k6 out"
  for name in stack.yml Dockerfile; do [[ -f $DEPLOY/$name ]] || fail 3 "deploy/$name is missing." "use a full checkout of Flashdrop"; done
}

check_engine() {
  docker version --format '{{.Server.Version}}' >/dev/null || fail 4 "Docker's engine doesn't answer (its words are above)." \
    "start it (systemctl start docker), or run this as a user who may use it"
  # The older builder ignores Dockerfile.dockerignore: deploy/secrets/ would become part of the build.
  [[ -z $BUILD ]] || docker buildx version >/dev/null 2>&1 \
    || fail 3 "Docker's buildx plugin is missing; the images can't be built without it." \
    "install docker-buildx-plugin (Debian: docker-buildx), or bring the images along: --skip-build"
}

check_swarm() {
  local state manages memory cpus
  swarm_facts
  if [[ $state == inactive && -n $INIT ]]; then
    step "making this host a swarm of one node"
    # Its output has the token with which other nodes join.
    docker swarm init >/dev/null \
      || fail 5 "The swarm could not be made (docker's words are above)." "docker swarm init --advertise-addr ADDRESS, then again"
    swarm_facts
  fi
  case $state in
    active) ;;
    inactive) fail 5 "This host is in no swarm." "$0 --init-swarm makes a swarm of this one host; or: docker swarm join" ;;
    locked) fail 5 "The swarm is locked." "docker swarm unlock" ;;
    *) fail 5 "The swarm is '$state'." "docker info tells more" ;;
  esac
  [[ $manages == true ]] || fail 5 "This host is a worker of the swarm; stacks are deployed on a manager." "find one with: docker node ls"
  ((NODES > 1 || (memory >= LEAST_MEMORY && cpus >= LEAST_CPUS))) \
    || warn "this host has $cpus CPUs and $((memory / 1024 ** 2)) MiB of memory; a whole shop wants $LEAST_CPUS and $((LEAST_MEMORY / 1024 ** 2)). Tasks may stay pending."
}

check_stores() { # the stores' volumes stay on the node with the label
  local labelled
  labelled=$(docker node ls --quiet --filter "node.label=$STORES") \
    || fail 5 "The swarm's nodes can't be listed (docker's words are above)." "docker node ls"
  [[ -z $labelled ]] || return 0
  ((NODES == 1)) \
    || fail 5 "No node is marked to hold the stores and their volumes." \
      "choose one (docker node ls), then: docker node update --label-add $STORES NODE"
  docker node update --label-add "$STORES" "$NODE" >/dev/null \
    || fail 5 "This node can't be marked to hold the stores (docker's words are above)." "docker node update --label-add $STORES $NODE"
}

swarm_facts() {
  local facts
  facts=$(docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}} {{.Swarm.Nodes}} {{.MemTotal}} {{.NCPU}} {{.Swarm.NodeID}}') \
    || fail 4 "Docker's engine doesn't tell about itself (its words are above)." "docker info"
  read -r state manages NODES memory cpus NODE <<<"$facts"
}

check_ports() {
  local port
  ! is_there nginx || return 0 # then it is ours
  for port in "${HTTP_PORT:-80}" "${HTTPS_PORT:-443}"; do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null \
      || fail 6 "Something else listens on port $port of this host." "stop it, or choose others: HTTP_PORT=8080 HTTPS_PORT=8443 $0"
  done
}

is_https() { [[ ${HTTPS_ONLY:-} =~ ^([Tt]rue|TRUE|1|[Yy]es|[Oo]n)$ ]]; }
is_there() { docker service inspect --format '{{.ID}}' "${STACK}_$1" >/dev/null 2>&1; }
