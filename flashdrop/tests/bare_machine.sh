#!/usr/bin/env bash
# Both commands of the README on a bare machine: a Debian made anew in a folder, with python3, python3-venv, make and git
# and nothing else, a clone of this checkout's last commit in it, and `make run`, then `make test` there by chroot.
#
#   flashdrop/tests/bare_machine.sh [bookworm|trixie] [run|test|both]
#
# Needs root, debootstrap and curl. Prints how long each took; ends with the exit code of what failed. The machine and all
# that ran in it are gone afterwards; KEEP=yes leaves the folder.
set -euo pipefail

suite=${1:-bookworm} what=${2:-both}
checkout=$(cd "$(dirname "$0")/../.." && pwd)
machine=$(mktemp -d "${TMPDIR:-/tmp}/bare-$suite-XXXXXX")
mounted=()
running=

leave() {
  # What was started there ends with its session; only then can what is mounted go, and only then the folder.
  [ -z "$running" ] || { kill -INT -- "-$running" 2>/dev/null || true; wait "$running" 2>/dev/null || true; }
  for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do
    umount "${mounted[i]}" || { echo "still mounted: ${mounted[i]}; $machine stays" >&2; return; }
  done
  [ "${KEEP:-}" = yes ] || rm -rf --one-file-system "$machine"
}
trap leave EXIT

mount_there() {
  mkdir -p "$machine$3"
  mount -t "$1" "$2" "$machine$3"
  mounted+=("$machine$3")
}

# Only what tells package clients where to go and whom to trust comes along from this machine.
mapfile -t brought < <(env | grep -E '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|CERT|DEFAULT_TIMEOUT)|SSL_CERT_FILE|https?_proxy|no_proxy|CI|PORT)=')
inside() {
  env -i HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${brought[@]}" \
    chroot "$machine" /bin/bash -c "cd /srv/flashdrop && $1"
}

echo "== a bare Debian ($suite) in $machine"
debootstrap --variant=minbase --include=python3,python3-venv,make,git,ca-certificates "$suite" "$machine" >"$machine.log" 2>&1 ||
  { tail -20 "$machine.log"; exit 1; }
rm "$machine.log"
for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt /etc/pip.conf; do
  if [ -r "$file" ]; then cp -L "$file" "$machine$file"; fi
done
mount_there proc proc /proc
mount_there devpts devpts /dev/pts
mount_there tmpfs tmpfs /dev/shm
git clone --quiet "$checkout" "$machine/srv/flashdrop"
# The clone is root's, whoever made the original.
inside 'python3 --version; git log -1 --format=%h'

if [ "$what" != test ]; then
  port=${PORT:-8000} begun=$SECONDS
  echo "== make run"
  set -m
  inside 'exec make run' &
  running=$!
  set +m
  until curl -fsS "http://127.0.0.1:$port/" 2>/dev/null | grep -q /sales/; do
    kill -0 "$running" 2>/dev/null || { wait "$running" || exit $?; exit 1; }
    sleep 0.5
  done
  echo "== the demo sale is on show after $((SECONDS - begun)) s: $(curl -fsS "http://127.0.0.1:$port/" | grep -o '<title>[^<]*'); /readyz: $(curl -fsS "http://127.0.0.1:$port/readyz")"
  kill -INT -- "-$running"
  wait "$running" || true
  running=
  echo "== stopped"
fi
if [ "$what" != run ]; then
  begun=$SECONDS
  echo "== make test"
  code=0
  inside 'make test' || code=$?
  echo "== make test ended with $code after $((SECONDS - begun)) s"
  exit "$code"
fi
