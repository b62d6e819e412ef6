"""Kubernetes manifests as the tests look at them: built, with their pods, and what network policies let through."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from flashdrop.config import BASE_DIR

Json = dict[str, Any]
WORKLOADS = ("Deployment", "StatefulSet", "Job")
ANY = ("any", 0)
KUBERNETES = BASE_DIR / "deploy/kubernetes"
KUBECTL = Path(sys.executable).parent / "kubectl"
# What an operator changes in the production overlay, or in a copy of it.
OWN = {
    "ALLOWED_HOSTS=shop.example.com": "ALLOWED_HOSTS=lamps.test,www.lamps.test",
    "newName: registry.example.com/flashdrop": "newName: registry.test:5000/shop",
    "newTag: 1.0.0": "newTag: 2.1.0",
    "# - ../../components/monitoring": "- ../../components/monitoring",
}


@dataclass(frozen=True)
class Pod:
    """A workload's pods: what they are called in findings, and what they are made of."""

    owner: str
    labels: dict[str, str]
    spec: Json

    @property
    def containers(self) -> list[Json]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


class Build:
    """What one overlay makes."""

    def __init__(self, objects: list[Json]) -> None:
        self.objects = objects
        self.pods = [
            Pod(found["metadata"]["name"], template["metadata"]["labels"], template["spec"])
            for found in objects
            if found["kind"] in WORKLOADS
            for template in [found["spec"]["template"]]
        ]

    def of(self, *kinds: str) -> list[Json]:
        return [found for found in self.objects if found["kind"] in kinds]

    def named(self, kind: str, name: str) -> Json | None:
        return next((found for found in self.of(kind) if found["metadata"]["name"] == name), None)

    def pod(self, owner: str) -> Pod:
        return next(pod for pod in self.pods if pod.owner == owner)

    @property
    def host(self) -> str:
        settings = next(found for found in self.of("ConfigMap") if found["metadata"]["name"].startswith("settings"))
        return str(settings["data"]["ALLOWED_HOSTS"].split(",")[0])

    def environment(self, container: Json) -> dict[str, str]:
        """Its variables, those of the ConfigMap first."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            settings = self.named("ConfigMap", source["configMapRef"]["name"])
            found |= settings["data"] if settings else {}
        return found | {each["name"]: each["value"] for each in container.get("env", [])}


def matches(selector: Json, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
    )


def lets_in(build: Build, pod: Pod, port: int, namespace: str, labels: dict[str, str]) -> bool:
    """Whether the policies let a pod with these labels, in that namespace, call a port of `pod`."""
    bound = [
        policy["spec"]
        for policy in build.of("NetworkPolicy")
        if "Ingress" in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], pod.labels)
    ]
    if not bound:
        return True
    return any(
        (not rule.get("ports") or port in {each["port"] for each in rule["ports"]})
        and (not rule.get("from") or any(_is_peer(peer, namespace, labels) for peer in rule["from"]))
        for spec in bound
        for rule in spec.get("ingress", [])
    )


def _is_peer(peer: Json, namespace: str, labels: dict[str, str]) -> bool:
    """Without a selector of namespaces a peer is in the policy's own."""
    if "namespaceSelector" in peer:
        is_there = matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
    else:
        is_there = namespace == "flashdrop"
    return is_there and matches(peer.get("podSelector", {}), labels)


def goes_out(build: Build, pod: Pod) -> set[tuple[str, int]]:
    """The ports outside that the policies let a pod call; `ANY` where they don't say."""
    bound = [
        policy["spec"]
        for policy in build.of("NetworkPolicy")
        if "Egress" in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], pod.labels)
    ]
    if not bound:
        return {ANY}
    rules = [rule for spec in bound for rule in spec.get("egress", [])]
    named = {(port["protocol"], port["port"]) for rule in rules for port in rule.get("ports", [])}
    return named | {ANY for rule in rules if not rule.get("ports")}


def kubectl(*arguments: str) -> str:
    """What it prints; it asks no cluster for what is used here."""
    assert KUBECTL.is_file(), "kubectl is missing (make .venv/.dev)"
    done = subprocess.run([KUBECTL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects_of(text: str) -> list[Json]:
    return [found for found in yaml.safe_load_all(text) if found]


@cache
def built(overlay: str) -> list[Json]:
    """The objects of an overlay; of production as an operator has changed it, for `own`."""
    if overlay != "own":
        return objects_of(kubectl("kustomize", str(KUBERNETES / "overlays" / overlay)))
    with tempfile.TemporaryDirectory() as folder:
        production = shutil.copytree(KUBERNETES, Path(folder) / "kubernetes") / "overlays/production"
        text = (production / "kustomization.yaml").read_text()
        for before, after in OWN.items():
            assert before in text
            text = text.replace(before, after)
        (production / "kustomization.yaml").write_text(text)
        return objects_of(kubectl("kustomize", str(production)))


def build(overlay: str) -> Build:
    """A build of one's own, to be broken at will."""
    return Build(copy.deepcopy(built(overlay)))
