# shellcheck shell=bash
# The files of deploy/secrets/: missing ones are made, none is overwritten, none is printed. Read by run-production.sh.

# What is in the stores' volumes by now; a new one would lock the stores or change every shopper's id.
STANDING=(secret_key postgres_password mongodb_password mongodb_keyfile)
GENERATED=("${STANDING[@]}" redis_password admin_password grafana_password)
DERIVED=(database_url mongodb_url redis_url)
SECRETS=$DEPLOY/secrets
UNFINISHED='' RANDOM_BYTES=''

clean_up() { [[ -z $UNFINISHED ]] || rm -f -- "$UNFINISHED"; }

write_once() { # NAME VALUE; a value never becomes an argument of a program, for every user here may read those
  [[ -n $2 ]] || fail 7 "No random bytes for deploy/secrets/$1." "is /dev/urandom there, and od?"
  UNFINISHED=$SECRETS/.unfinished.$$
  (umask 077 && printf '%s' "$2" >"$UNFINISHED") \
    || fail 7 "deploy/secrets/ can't be written to." "look at its owner, and whether the disk is full"
  # Unlike mv, ln never takes another's place.
  ln -- "$UNFINISHED" "$SECRETS/$1" 2>/dev/null || [[ -e $SECRETS/$1 ]] \
    || fail 7 "deploy/secrets/$1 can't be written." "can this file system do hard links?"
  rm -f -- "$UNFINISHED"
  UNFINISHED=''
}

random_bytes() { # as 64 hexadecimal digits in RANDOM_BYTES
  RANDOM_BYTES=$(od -An -v -tx1 -N32 /dev/urandom) || RANDOM_BYTES=''
  RANDOM_BYTES=${RANDOM_BYTES//[!0-9a-f]/}
  [[ ${#RANDOM_BYTES} == 64 ]] || RANDOM_BYTES=''
}

derive() { # NAME PASSWORD'S-NAME BEFORE AFTER: an address with a password in it
  local name=$1 password value
  password=$(<"$SECRETS/$2")
  [[ $password =~ ^[A-Za-z0-9._~-]+$ ]] || [[ -e $SECRETS/$name ]] \
    || fail 7 "deploy/secrets/$2 has signs that mean something in a URL." \
        "write deploy/secrets/$name yourself, with the password percent-encoded"
  [[ -e $SECRETS/$name ]] || write_once "$name" "$3$password$4"
  value=$(<"$SECRETS/$name")
  # An address of another host is the operator's business; a password that needs encoding can't be compared.
  [[ $value != *"${4%%/*}/"* || $value == *":$password@"* || ! $password =~ ^[A-Za-z0-9._~-]+$ ]] \
    || fail 7 "deploy/secrets/$name doesn't hold the password in deploy/secrets/$2." \
        "remove the wrong one of the two: the address is written anew, a password must be the store's own"
}

make_secrets() {
  local name missing=''
  [[ -d $SECRETS ]] || mkdir -m 700 "$SECRETS" || fail 7 "deploy/secrets/ can't be made." "look at the owner of deploy/"
  for name in "${STANDING[@]}"; do [[ -e $SECRETS/$name ]] || missing+=" $name"; done
  if [[ -n $missing && -z $ONLY_SECRETS ]] && [[ -n $(docker volume ls --quiet --filter "label=com.docker.stack.namespace=$STACK") ]]; then
    fail 7 "This host holds data of an earlier deployment, but deploy/secrets/ lacks$missing." \
      "bring back the files with which it was made; to begin anew, remove the stack's volumes (docker volume ls)"
  fi
  for name in "${GENERATED[@]}"; do
    [[ -e $SECRETS/$name ]] || { random_bytes && write_once "$name" "$RANDOM_BYTES"; }
    [[ -s $SECRETS/$name ]] || fail 7 "deploy/secrets/$name is empty." "remove it, or put the secret there"
  done
  derive database_url postgres_password postgres://flashdrop: @postgres:5432/flashdrop
  derive mongodb_url mongodb_password mongodb://flashdrop: "@mongodb:27017/flashdrop?replicaSet=rs0&authSource=admin"
  derive redis_url redis_password redis://: @redis:6379/0
}

# A secret of swarm can't be changed, so its name has to change with its value.
secrets_version() { (cd "$SECRETS" && cat "${GENERATED[@]}" "${DERIVED[@]}" | short_hash); }
