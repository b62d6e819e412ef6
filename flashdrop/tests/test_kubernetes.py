"""What is shipped for Kubernetes: it builds, its schemas hold, and it says what the code needs. No cluster is asked."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from conftest import FOLDER, NO_TLS, Processes
from flashdrop.config import BASE_DIR
from flashdrop.embedded.process import free_port
from flashdrop.tests.manifest_checks import EXAMPLE, SECRET_KEYS, SHOP, faults
from flashdrop.tests.manifests import KUBERNETES, Build, build, built, kubectl, lets_in, objects_of

# The oldest that has what is asked for, one between, and the newest that the checker knows.
VERSIONS = ("1.30", "1.34", "1.37")
OVERLAYS = ("production", "trial", "own")
OPERATOR = "monitoring.coreos.com/v1"


@pytest.fixture(autouse=True, scope="module")
def schemas_read_once() -> Iterator[None]:
    """The checker reads a megabyte of schemas for each object; its answers stay the same without."""
    read = utils.schema_contents
    utils.schema_contents = cache(read)
    yield
    utils.schema_contents = read


# It builds, and Kubernetes would take it.


@pytest.mark.parametrize(
    ("overlay", "version"), [("production", version) for version in VERSIONS] + [("trial", "1.30"), ("own", "1.37")]
)
def test_kubernetes_would_take_every_object(overlay: str, version: str) -> None:
    own = [found for found in built(overlay) if found["apiVersion"] != OPERATOR]
    assert len(own) > 15
    assert {kubernetes_validate.validate(found, version, strict=True) for found in own} == {version}


def test_a_field_that_does_not_exist_is_found_out() -> None:
    """The canary of the one above."""
    web = build("production").named("Deployment", "web")
    assert web is not None
    web["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(web, VERSIONS[0], strict=True)


def test_the_operators_kinds_have_the_shape_that_its_reference_gives() -> None:
    """Written out here: their schemas live in the operator's cluster, and no checker at hand has them."""
    monitors = [found for found in built("own") if found["apiVersion"] == OPERATOR]
    assert {found["kind"] for found in monitors} == {"PodMonitor"}
    for monitor, name, port in zip(monitors, ("web", "worker"), ("http", "metrics"), strict=True):
        assert set(monitor) == {"apiVersion", "kind", "metadata", "spec"}
        assert (monitor["metadata"]["name"], monitor["metadata"]["namespace"]) == (name, "flashdrop")
        assert set(monitor["spec"]) == {"selector", "podMetricsEndpoints"}
        assert monitor["spec"]["podMetricsEndpoints"] == [
            {
                "port": port,
                "path": "/metrics",
                "interval": "5s",
                "scrapeTimeout": "4s",
                "relabelings": [{"action": "replace", "targetLabel": "job", "replacement": f"flashdrop-{name}"}],
            }
        ]


# It says what the code needs.


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_wrong_with_an_overlay(overlay: str) -> None:
    assert faults(build(overlay)) == []


def test_pods_run_as_the_images_user_with_its_files() -> None:
    image, found = (BASE_DIR / "deploy/Dockerfile").read_text(), build("production")
    user, group = re.findall(r"^USER (\d+):(\d+)$", image, re.MULTILINE)[0]
    data = re.findall(r"^    FLASHDROP_DATA_DIR=(\S+)$", image, re.MULTILINE)
    for owner in SHOP:
        of_all = found.pod(owner).spec["securityContext"]
        assert (of_all["runAsUser"], of_all["runAsGroup"]) == (int(user), int(group))
        assert [found.environment(container(found, owner))["FLASHDROP_DATA_DIR"]] == data


def test_the_trial_makes_its_mongodb_a_set_and_then_does_what_production_does() -> None:
    production, trial = (container(build(name), "migrate")["command"][-1].rstrip() for name in ("production", "trial"))
    assert trial == f"python manage.py initiate_mongodb\n{production}"


@pytest.mark.parametrize(("store", "port"), [("redis", 6379), ("mongodb", 27017), ("postgres", 5432)])
def test_the_trials_stores_have_no_passwords_and_are_reached_by_the_shop_alone(store: str, port: int) -> None:
    trial = build("trial")
    for owner in SHOP:
        assert lets_in(trial, trial.pod(store), port, "flashdrop", trial.pod(owner).labels)
    assert not lets_in(trial, trial.pod(store), port, "flashdrop", {"app": "other"})
    assert not lets_in(trial, trial.pod(store), port, "elsewhere", trial.pod("web").labels)


def container(found: Build, owner: str) -> Any:
    return found.pod(owner).spec["containers"][0]


def spec(found: Build, kind: str, name: str) -> Any:
    named = found.named(kind, name)
    assert named is not None
    return named["spec"]


BREAKS: dict[str, Callable[[Build], object]] = {
    "web: DATABASE_URI is no setting": lambda b: container(b, "web")["env"].append(
        {"name": "DATABASE_URI", "value": ""}
    ),
    "worker: would be counted with the web tier": lambda b: container(b, "worker")["env"].append(
        {"name": "PROMETHEUS_MULTIPROC_DIR", "value": "/tmp"}
    ),
    "web: no ConfigMap settings": lambda b: container(b, "web")["envFrom"].append(
        {"configMapRef": {"name": "settings"}}
    ),
    "Secret secrets: belongs in no manifest": lambda b: b.objects.append(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secrets"}, "data": {"secret_key": "eA=="}}
    ),
    "worker: /run/secrets/redis_url is not mounted": lambda b: (
        b.pod("worker").spec["volumes"][1]["secret"]["items"].pop()
    ),
    "web: readinessProbe asks for /ready, which does not exist": lambda b: container(b, "web")["readinessProbe"][
        "httpGet"
    ].update(path="/ready"),
    "web: livenessProbe does not name the shop: it would be refused": lambda b: container(b, "web")["livenessProbe"][
        "httpGet"
    ].pop("httpHeaders"),
    "web: startupProbe gives up before the stores do": lambda b: container(b, "web")["startupProbe"].update(
        timeoutSeconds=2
    ),
    "worker: livenessProbe asks a port without a name": lambda b: container(b, "worker")["livenessProbe"].update(
        tcpSocket={"port": "http"}
    ),
    "worker: listens at 9101, and its port is another": lambda b: container(b, "worker")["ports"][0].update(
        containerPort=9102
    ),
    "Service web: web has no port https": lambda b: spec(b, "Service", "web")["ports"][0].update(targetPort="https"),
    "PodDisruptionBudget web: selects no pod": lambda b: spec(b, "PodDisruptionBudget", "web")["selector"].update(
        matchLabels={"app": "web"}
    ),
    "web: is spread by what it is not": lambda b: (
        b.pod("web").spec["topologySpreadConstraints"][0].update(labelSelector={"matchLabels": {"app": "web"}})
    ),
    "HorizontalPodAutoscaler web: its target is not there": lambda b: spec(b, "HorizontalPodAutoscaler", "web")[
        "scaleTargetRef"
    ].update(name="flashdrop"),
    "web: its number of replicas undoes the autoscaler's": lambda b: spec(b, "Deployment", "web").update(replicas=3),
    "Ingress web: no Service for /metrics": lambda b: b.objects.remove(b.named("Service", "nowhere") or {}),
    "Ingress web: other.test is not the shop's name, or without TLS": lambda b: spec(b, "Ingress", "web")["rules"][
        0
    ].update(host="other.test"),
    "worker: manage.py has no work": lambda b: container(b, "worker").update(command=["manage.py work"]),
    "the shop runs more than one image: registry.example.com/flashdrop:1.0.0, registry.example.com/flashdrop:1.1.0": (
        lambda b: container(b, "worker").update(image="registry.example.com/flashdrop:1.1.0")
    ),
    "worker: the image flashdrop:latest names no release": lambda b: container(b, "worker").update(
        image="flashdrop:latest"
    ),
    "web: its endpoints learn of its end too late": lambda b: container(b, "web").pop("lifecycle"),
    "web: killed before it has drained": lambda b: b.pod("web").spec.update(terminationGracePeriodSeconds=20),
    "web: a release takes pods away first": lambda b: spec(b, "Deployment", "web").pop("strategy"),
    "migrate: may be root": lambda b: b.pod("migrate").spec["securityContext"].update(runAsUser="app"),
    "migrate: no seccomp profile": lambda b: b.pod("migrate").spec["securityContext"].pop("seccompProfile"),
    "web: has a token for the API server": lambda b: b.pod("web").spec.pop("automountServiceAccountToken"),
    "worker: its container is not locked up": lambda b: container(b, "worker")["securityContext"].update(
        readOnlyRootFilesystem=False
    ),
    "web: its container has no requests or limits": lambda b: container(b, "web")["resources"]["limits"].pop("memory"),
    "web: its limit throttles its processes": lambda b: container(b, "web")["resources"]["limits"].update(cpu="2"),
    "worker: monitoring must reach 9101": lambda b: b.objects.remove(b.named("NetworkPolicy", "to-worker") or {}),
    "web: elsewhere must not reach 8000": lambda b: spec(b, "NetworkPolicy", "to-web")["ingress"][0]["from"].append(
        {"namespaceSelector": {}}
    ),
    "migrate: ingress-nginx must not reach 8000": lambda b: spec(b, "NetworkPolicy", "to-web").update(podSelector={}),
    "worker: must reach the stores and DNS, and nothing else": lambda b: spec(b, "NetworkPolicy", "from-shop")[
        "egress"
    ].pop(),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_broken_manifest_is_found_out(fault: str) -> None:
    """The canaries of the one above: each breaks one thing, and is told by its own sentence."""
    broken = build("production")
    BREAKS[fault](broken)
    assert fault in faults(Build(broken.objects))


def test_host_and_release_are_written_once() -> None:
    text = yaml.safe_dump(built("own"))
    assert "example.com" not in text, "another host and image are set, and nothing of the first ones is left"
    assert set(re.findall(r"image: (.+)", text)) == {"registry.test:5000/shop:2.1.0"}
    assert text.count("lamps.test") == 2 + 3 + 2, "in the settings two, in three probes, in the ingress twice"


def test_what_goes_before_a_release_is_all_but_web_and_worker() -> None:
    """By the label that `kubectl apply -l` selects with: what the migration needs is there, and nothing starts."""
    before = [
        found
        for found in built("production")
        if found["metadata"].get("labels", {}).get("app.kubernetes.io/component") not in ("web", "worker")
    ]
    assert {found["kind"] for found in before} == {"Namespace", "ServiceAccount", "ConfigMap", "Job", "NetworkPolicy"}
    assert "component notin (web, worker)" in (KUBERNETES / "base/migrate.yaml").read_text()


# Secrets and rules, made when needed.


@pytest.mark.parametrize("example", [EXAMPLE, KUBERNETES / "overlays/trial" / EXAMPLE.name])
def test_the_example_of_secrets_has_every_key_and_no_value(example: Path) -> None:
    arguments = ("create", "secret", "generic", "secrets", f"--from-env-file={example}", "--dry-run=client", "-oyaml")
    assert set(yaml.safe_load(kubectl(*arguments))["data"]) == SECRET_KEYS
    values = dict(re.findall(r"^(\w+)=(.*)$", example.read_text(), re.MULTILINE))
    assert [name for name, value in values.items() if value and not name.endswith("_url")] == []
    assert {found for value in values.values() for found in re.findall(r":([^:/@]+)@", value)} <= {"PASSWORD"}
    git = ["git", "check-ignore", "--quiet", example.with_name("secrets.env")]
    assert subprocess.run(git, cwd=BASE_DIR, check=False).returncode == 0, "the filled one is ignored"
    mounted = {item["key"] for item in build("trial").pod("migrate").spec["volumes"][1]["secret"]["items"]}
    assert mounted == SECRET_KEYS


def test_the_rules_are_those_of_the_other_targets() -> None:
    script = KUBERNETES / "prometheus-rules.sh"
    done = subprocess.run([script, "--label", "release=kps"], capture_output=True, text=True, check=True)
    rules = objects_of(done.stdout)
    assert [set(found) for found in rules] == [{"apiVersion", "kind", "metadata", "spec"}] * 2
    assert {(found["apiVersion"], found["kind"]) for found in rules} == {(OPERATOR, "PrometheusRule")}
    assert [found["metadata"]["labels"]["release"] for found in rules] == ["kps", "kps"]
    for found, name in zip(rules, ("recording", "alerts"), strict=True):
        assert found["spec"] == yaml.safe_load((BASE_DIR / f"deploy/prometheus/{name}.yml").read_text())
    assert subprocess.run([script, "--what"], capture_output=True, check=False).returncode == 2


# The probes, asked of a real shop with the settings that are shipped.


def test_a_shop_with_these_settings_answers_its_probes(processes: Processes, tmp_path: Path) -> None:
    found = build("production")
    web, port = container(found, "web"), free_port()
    settings = {name: value for name, value in found.environment(web).items() if not name.endswith("_FILE")}
    own = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_WORKERS": "1", "FLASHDROP_DATA_DIR": str(FOLDER)}
    processes.start("serve", **settings | own | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=NO_TLS, timeout=5) as kubelet:
        deadline = time.monotonic() + 20
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            call = web[name]["httpGet"]
            headers = {header["name"]: header["value"] for header in call["httpHeaders"]}
            while (status := _status(kubelet, call["path"], headers)) != 200:
                assert name == "startupProbe", status
                assert time.monotonic() < deadline, status
                time.sleep(0.05)
            # The canary, and why the header is there.
            assert _status(kubelet, call["path"], headers | {"Host": f"127.0.0.1:{port}"}) == 400
        # Prometheus comes by address, without TLS.
        assert "flashdrop_http_requests_total" in kubelet.get("/metrics").text


def _status(client: httpx.Client, path: str, headers: dict[str, str]) -> int:
    try:
        return client.get(path, headers=headers).status_code
    except httpx.TransportError:
        return 0
