"""What must hold of Kubernetes manifests beside what their schemas say. A check yields a sentence for each fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from django.core.management import get_commands
from django.urls import Resolver404, resolve

from flashdrop.config import BASE_DIR
from flashdrop.tests.manifests import Build, Json, goes_out, lets_in, matches
from flashdrop.web_worker import DRAIN_SECONDS
from sales.health import CHECK_SECONDS

ENSURE_ADMIN = BASE_DIR / "flashdrop/management/commands/ensure_admin.py"
SETTINGS = {
    *re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (BASE_DIR / "flashdrop/config.py").read_text()),
    *re.findall(r'given\("([A-Z_]+)"\)', ENSURE_ADMIN.read_text()),
}
# prometheus_client's own.
OTHERS = {"PROMETHEUS_MULTIPROC_DIR"}
EXAMPLE = BASE_DIR / "deploy/kubernetes/secrets.example.env"
SECRET_KEYS = set(re.findall(r"^(\w+)=", EXAMPLE.read_text(), re.MULTILINE))
SHOP = ("web", "worker", "migrate")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def settings_that_nobody_reads(build: Build) -> Iterator[str]:
    known = SETTINGS | {f"{name}_FILE" for name in SETTINGS} | OTHERS
    for pod in build.pods:
        if pod.owner not in SHOP:
            continue
        for container in pod.containers:
            for source in container.get("envFrom", []):
                if build.named("ConfigMap", source["configMapRef"]["name"]) is None:
                    yield f"{pod.owner}: no ConfigMap {source['configMapRef']['name']}"
            environment = build.environment(container)
            yield from (f"{pod.owner}: {name} is no setting" for name in sorted(set(environment) - known))
            if "PROMETHEUS_MULTIPROC_DIR" in environment and pod.owner != "web":
                yield f"{pod.owner}: would be counted with the web tier"


def secrets_that_are_not_mounted(build: Build) -> Iterator[str]:
    for found in build.of("Secret"):
        yield f"Secret {found['metadata']['name']}: belongs in no manifest"
    for pod in build.pods:
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        for container in pod.containers:
            files, keys = set(), set()
            for mount in container.get("volumeMounts", []):
                for item in volumes.get(mount["name"], {}).get("secret", {}).get("items", []):
                    files.add(f"{mount['mountPath']}/{item['path']}")
                    keys.add(item["key"])
            yield from (f"{pod.owner}: {key} is not in {EXAMPLE.name}" for key in sorted(keys - SECRET_KEYS))
            named = [value for name, value in build.environment(container).items() if name.endswith("_FILE")]
            yield from (f"{pod.owner}: {path} is not mounted" for path in named if path not in files)


def questions_that_the_shop_does_not_answer(build: Build) -> Iterator[str]:
    for pod in build.pods:
        for container in pod.containers:
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            for name in PROBES:
                probe = container.get(name, {})
                call = probe.get("httpGet") or probe.get("tcpSocket")
                if call and call["port"] not in ports:
                    yield f"{pod.owner}: {name} asks a port without a name"
                if call and "path" in call:
                    yield from _wrong_call(f"{pod.owner}: {name}", call, probe.get("timeoutSeconds", 1), build.host)


def _wrong_call(place: str, call: Json, timeout: float, host: str) -> Iterator[str]:
    try:
        resolve(call["path"])
    except Resolver404:
        yield f"{place} asks for {call['path']}, which does not exist"
    if {"name": "Host", "value": host} not in call.get("httpHeaders", []):
        yield f"{place} does not name the shop: it would be refused"
    if call["path"] == "/readyz" and timeout <= CHECK_SECONDS:
        yield f"{place} gives up before the stores do"


def ports_where_nobody_listens(build: Build) -> Iterator[str]:
    for owner, variable in (("web", "PORT"), ("worker", "WORKER_METRICS_PORT")):
        container = build.pod(owner).spec["containers"][0]
        listens = int(build.environment(container)[variable])
        if [port["containerPort"] for port in container["ports"]] != [listens]:
            yield f"{owner}: listens at {listens}, and its port is another"
    for service in build.of("Service"):
        name, selector = service["metadata"]["name"], service["spec"].get("selector")
        for pod in build.pods if selector else []:
            if matches({"matchLabels": selector}, pod.labels):
                ports = {port["name"] for container in pod.containers for port in container.get("ports", [])}
                yield from (
                    f"Service {name}: {pod.owner} has no port {port['targetPort']}"
                    for port in service["spec"]["ports"]
                    if port["targetPort"] not in ports
                )


def selectors_that_find_nobody(build: Build) -> Iterator[str]:
    selectors: list[tuple[str, Json]] = []
    for found in build.objects:
        kind, name, spec = found["kind"], found["metadata"]["name"], found.get("spec", {})
        if kind == "Service" and "selector" in spec:
            selectors.append((f"Service {name}", {"matchLabels": spec["selector"]}))
        elif kind in ("PodDisruptionBudget", "Deployment", "StatefulSet", "PodMonitor"):
            selectors.append((f"{kind} {name}", spec["selector"]))
        elif kind == "NetworkPolicy" and spec["podSelector"]:
            selectors.append((f"NetworkPolicy {name}", spec["podSelector"]))
    for pod in build.pods:
        for spread in pod.spec.get("topologySpreadConstraints", []):
            if not matches(spread["labelSelector"], pod.labels):
                yield f"{pod.owner}: is spread by what it is not"
    for place, selector in selectors:
        if not any(matches(selector, pod.labels) for pod in build.pods):
            yield f"{place}: selects no pod"


def names_that_are_not_there(build: Build) -> Iterator[str]:
    for scaler in build.of("HorizontalPodAutoscaler"):
        target = build.named("Deployment", scaler["spec"]["scaleTargetRef"]["name"])
        if target is None:
            yield f"HorizontalPodAutoscaler {scaler['metadata']['name']}: its target is not there"
        elif "replicas" in target["spec"]:
            yield f"{target['metadata']['name']}: its number of replicas undoes the autoscaler's"
    for ingress in build.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            if rule["host"] != build.host or rule["host"] not in ingress["spec"]["tls"][0]["hosts"]:
                yield f"Ingress {ingress['metadata']['name']}: {rule['host']} is not the shop's name, or without TLS"
            for path in rule["http"]["paths"]:
                if build.named("Service", path["backend"]["service"]["name"]) is None:
                    yield f"Ingress {ingress['metadata']['name']}: no Service for {path['path']}"
    for pod in build.pods:
        if build.named("ServiceAccount", pod.spec.get("serviceAccountName", "default")) is None:
            yield f"{pod.owner}: its ServiceAccount is not there"
        for command in re.findall(r"manage\.py (\w+)", " ".join(pod.spec["containers"][0].get("command", []))):
            if command not in get_commands():
                yield f"{pod.owner}: manage.py has no {command}"


def images_of_two_releases(build: Build) -> Iterator[str]:
    images = {container["image"] for pod in build.pods if pod.owner in SHOP for container in pod.containers}
    if len(images) > 1:
        yield f"the shop runs more than one image: {', '.join(sorted(images))}"
    for pod in build.pods:
        for container in pod.containers:
            if not re.search(r":[\w.-]+$", container["image"]) or container["image"].endswith(":latest"):
                yield f"{pod.owner}: the image {container['image']} names no release"


def ends_that_are_cut_short(build: Build) -> Iterator[str]:
    for pod in build.pods:
        if pod.owner not in ("web", "worker"):
            continue
        sleep = pod.spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if pod.owner == "web" and not sleep:
            yield "web: its endpoints learn of its end too late"
        if pod.spec.get("terminationGracePeriodSeconds", 30) < sleep + DRAIN_SECONDS + 5:
            yield f"{pod.owner}: killed before it has drained"
        rolling = build.named("Deployment", pod.owner) or {}
        if rolling["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"{pod.owner}: a release takes pods away first"


def containers_that_may_too_much(build: Build) -> Iterator[str]:
    for pod in build.pods:
        of_all = pod.spec.get("securityContext", {})
        if not of_all.get("runAsNonRoot") or not isinstance(of_all.get("runAsUser"), int):
            yield f"{pod.owner}: may be root"
        if of_all.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{pod.owner}: no seccomp profile"
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner}: has a token for the API server"
        for container in pod.containers:
            own, resources = container.get("securityContext", {}), container.get("resources", {})
            if own != {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }:
                yield f"{pod.owner}: its container is not locked up"
            if any({"cpu", "memory"} - set(resources.get(kind, {})) for kind in ("requests", "limits")):
                yield f"{pod.owner}: its container has no requests or limits"
    web = build.pod("web").spec["containers"][0]
    if int(web["resources"]["limits"]["cpu"]) <= int(build.environment(web)["WEB_WORKERS"]):
        yield "web: its limit throttles its processes"


def doors_left_open_or_shut(build: Build) -> Iterator[str]:
    web, worker = build.pod("web"), build.pod("worker")
    prometheus, proxy = {"app.kubernetes.io/name": "prometheus"}, {"app.kubernetes.io/name": "ingress-nginx"}
    for pod, port, namespace, labels, wanted in (
        (web, 8000, "monitoring", prometheus, True),
        (worker, 9101, "monitoring", prometheus, True),
        (web, 8000, "ingress-nginx", proxy, True),
        (worker, 9101, "ingress-nginx", proxy, False),
        (web, 8000, "monitoring", {"app": "grafana"}, False),
        (web, 8000, "elsewhere", prometheus, False),
        (build.pod("migrate"), 8000, "ingress-nginx", proxy, False),
    ):
        if lets_in(build, pod, port, namespace, labels) is not wanted:
            yield f"{pod.owner}: {namespace} {'must' if wanted else 'must not'} reach {port}"
    stores = {("TCP", port) for port in (6379, 26379, 27017, 5432)}
    for owner in SHOP:
        if goes_out(build, build.pod(owner)) != stores | {("UDP", 53), ("TCP", 53)}:
            yield f"{owner}: must reach the stores and DNS, and nothing else"


CHECKS: tuple[Callable[[Build], Iterator[str]], ...] = (
    settings_that_nobody_reads,
    secrets_that_are_not_mounted,
    questions_that_the_shop_does_not_answer,
    ports_where_nobody_listens,
    selectors_that_find_nobody,
    names_that_are_not_there,
    images_of_two_releases,
    ends_that_are_cut_short,
    containers_that_may_too_much,
    doors_left_open_or_shut,
)


def faults(build: Build) -> list[str]:
    """Everything that is wrong with a build."""
    return [fault for check in CHECKS for fault in check(build)]
