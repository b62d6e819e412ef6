#!/bin/sh
# Prints a PrometheusRule for each file of rules, for `| kubectl apply -f -`. Made when needed, because kustomize can neither read a
# file outside its folder nor put one into an object, and a copy would fall behind.
# --namespace where they go (flashdrop); --label KEY=VALUE that your Prometheus selects rules by.
set -eu
rules=$(cd "$(dirname "$0")/../prometheus" && pwd)
namespace=flashdrop
label=

while [ $# -gt 0 ]; do
  case $1 in
    --namespace) namespace=$2 && shift 2 ;;
    --label) label=$2 && shift 2 ;;
    *) echo "usage: $0 [--namespace NAME] [--label KEY=VALUE]" >&2 && exit 2 ;;
  esac
done

for name in recording alerts; do
  echo "---"
  echo "apiVersion: monitoring.coreos.com/v1"
  echo "kind: PrometheusRule"
  echo "metadata:"
  echo "  name: flashdrop-$name"
  echo "  namespace: $namespace"
  echo "  labels:"
  echo "    app.kubernetes.io/name: flashdrop"
  if [ -n "$label" ]; then echo "    ${label%%=*}: \"${label#*=}\""; fi
  echo "spec:"
  sed 's/^/  /' "$rules/$name.yml"
done
