"""What containers are made and run from: Docker's own tools read it, it agrees with itself and with the code."""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import subprocess
import sys
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from flashdrop.config import BASE_DIR
from flashdrop.dashboards.__main__ import DASHBOARDS

DEPLOY = BASE_DIR / "deploy"
DEVELOPMENT, PRODUCTION, STACK = "compose.yml", "compose.prod.yml", "stack.yml"
MEMBERS, SENTINEL, CLUSTER = "ha/mongodb-replica-set.yml", "ha/redis-sentinel.yml", "ha/redis-cluster.yml"
COMBINATIONS = [(DEVELOPMENT,), (STACK,), (PRODUCTION,), (PRODUCTION, MEMBERS, SENTINEL), (PRODUCTION, CLUSTER)]
DEPLOYED = COMBINATIONS[1:]

PINS = {
    "python": "3.11.14-slim-bookworm",
    "nginx": "1.31.3-alpine",
    "redis": "7.2.11-bookworm",
    "mongo": "7.0.25",
    "postgres": "15.14-bookworm",
    "prom/prometheus": "v3.5.0",
    "grafana/grafana-oss": "11.6.0",
}
OURS = {"flashdrop:local", "flashdrop-proxy:local"}
ONE_SHOTS = {"migrate", "prepare", "mongodb-init", "redis-cluster-init"}
SECRETS = {
    *("secret_key", "database_url", "mongodb_url", "redis_url", "postgres_password", "mongodb_password"),
    *("mongodb_keyfile", "redis_password", "admin_password", "grafana_password"),
}
# What is no setting of flashdrop/config.py, and who reads it.
OF_IMAGES = {
    "app": {"ADMIN_PASSWORD", "PROMETHEUS_MULTIPROC_DIR"},  # ensure_admin, prometheus_client
    "redis": {"REDIS_CONF", "REDIS_NAME", "REDIS_PRIMARY", "REDIS_SENTINELS", "SENTINEL_NAME"},  # our start scripts
    "mongo": {"MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD"},
    "postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_HOST_AUTH_METHOD"},
    "grafana/grafana-oss": {
        *("PROMETHEUS_URL", "GF_SECURITY_ADMIN_PASSWORD_", "GF_USERS_ALLOW_SIGN_UP"),
        *("GF_ANALYTICS_REPORTING_ENABLED", "GF_ANALYTICS_CHECK_FOR_UPDATES"),
    },
}
# Where each image keeps what must last.
KEEPS = {
    "redis": "/data",
    "mongo": "/data/db",
    "postgres": "/var/lib/postgresql/data",
    "prom/prometheus": "/prometheus",
    "grafana/grafana-oss": "/var/lib/grafana",
}
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()

every_combination = pytest.mark.parametrize("files", COMBINATIONS, ids=" ".join)
every_deployment = pytest.mark.parametrize("files", DEPLOYED, ids=" ".join)


@cache
def model(files: tuple[str, ...]) -> dict[str, Any]:
    """What docker-compose makes of the files, with every default filled in."""
    binary = shutil.which("docker-compose")
    assert binary, "docker-compose is missing; `make tools` installs it"
    options = chain.from_iterable(("-f", str(DEPLOY / file)) for file in files)
    # Of the environment nothing but the PATH: the defaults are what is looked at.
    done = subprocess.run(
        [binary, *options, "config"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # A swarm's part that Compose has no use for is the only thing it may have to say.
    assert [line for line in done.stderr.splitlines() if "'configs' key" not in line] == []
    loaded: dict[str, Any] = yaml.safe_load(done.stdout)
    return loaded


def services(files: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = model(files)["services"]
    return found


def image_of(service: dict[str, Any]) -> str:
    """The image without its version; both of ours by their target."""
    name = str(service["image"]).rpartition(":")[0]
    return {"flashdrop": "app", "flashdrop-proxy": "proxy"}.get(name, name)


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What is mounted, by the place in the container: a volume's name, a path of this host, or `tmpfs`."""
    found = {}
    for volume in service.get("volumes", []):
        if isinstance(volume, str):
            source, target, *_ = volume.split(":")
        else:
            source, target = volume.get("source", "tmpfs"), volume["target"]
        found[target] = source
    return found | {entry.partition(":")[0]: "tmpfs" for entry in service.get("tmpfs", [])}


def limits(service: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = service.get("deploy", {}).get("resources", {}).get("limits", {})
    return found


def settings() -> set[str]:
    """Every variable that flashdrop/config.py reads."""
    tree = ast.parse((BASE_DIR / "flashdrop/config.py").read_text())
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


# Docker's tools read it.


@every_combination
def test_docker_compose_takes_the_files(files: tuple[str, ...]) -> None:
    assert {"web", "worker", "redis", "mongodb", "postgres"} <= set(services(files))


def docker_client() -> str:
    """Docker's command line, 23 or later; no engine is needed. Where there is none, docker-compose reads the files."""
    binary = shutil.which("docker")
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout if binary else ""
    version = re.search(r"version (\d+)", told)
    if binary is None or version is None or int(version[1]) < 23:
        pytest.skip(f"needs Docker's command line 23 or later, not {told.strip() or 'none'}")
    return binary


def test_a_swarm_takes_the_stack() -> None:
    binary = docker_client()
    done = subprocess.run(
        [binary, "stack", "config", "-c", str(DEPLOY / STACK)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(services((STACK,)))


def test_hadolint_has_nothing_to_say() -> None:
    binary = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([binary, DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scripts_are_sound() -> None:
    scripts = [*DEPLOY.glob("redis/*.sh"), *DEPLOY.glob("mongodb/*.sh"), *DEPLOY.glob("ha/*.sh")]
    binary = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([binary, *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert scripts and done.returncode == 0, done.stdout


# It agrees with itself and with the code.


@every_combination
def test_images_are_ours_or_pinned_to_one_version(files: tuple[str, ...]) -> None:
    foreign = {service["image"] for service in services(files).values()} - OURS
    assert foreign <= {f"{name}:{version}" for name, version in PINS.items()}
    bases = dict(re.findall(r"^ARG (\w+_IMAGE)=docker\.io/library/(\S+)$", DOCKERFILE, re.M))
    assert set(bases.values()) == {f"{name}:{PINS[name]}" for name in ("python", "nginx")}
    assert set(re.findall(r"^FROM \$\{(\w+)\} AS \w+$", DOCKERFILE, re.M)) == set(bases)


@every_combination
def test_every_variable_is_read_by_somebody(files: tuple[str, ...]) -> None:
    known = settings()
    assert {"SECRET_KEY", "TRUSTED_PROXY_COUNT", "WEB_WORKERS"} <= known
    for name, service in services(files).items():
        image = image_of(service)
        read = OF_IMAGES.get(image, set()) | (known if image == "app" else set())
        given = {variable.removesuffix("_FILE") for variable in service.get("environment", {})}
        assert given <= read, f"{name} is given {given - read}, which nothing there reads"
    in_image = re.search(r"^ENV (PATH=.*?)\n(?! )", DOCKERFILE, re.M | re.S)
    assert in_image
    given = set(re.findall(r"\b([A-Z_]+)=", in_image[1])) - {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    assert given and given <= known


@every_deployment
def test_no_secret_stands_in_a_file(files: tuple[str, ...]) -> None:
    for name, service in services(files).items():
        mounted = {secret["source"] for secret in service.get("secrets", [])}
        assert mounted <= SECRETS
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in mounted, f"{name}: {variable} names what isn't mounted"
            else:
                assert not re.search(r"SECRET|PASSWORD|_KEY|[A-Z]+(?<!PROMETHEUS)_URL$", variable), (
                    f"{name}: {variable}"
                )
                assert "@" not in str(value)
        command = [*service.get("command", []), *service.get("entrypoint", [])]
        named = set(re.findall(r"/run/secrets/(\w+)", " ".join(map(str, command))))
        assert named <= mounted
    declared = model(files)["secrets"]
    assert set(declared) == SECRETS
    assert {Path(secret["file"]).relative_to(DEPLOY).as_posix() for secret in declared.values()} == {
        f"secrets/{name}" for name in SECRETS
    }


@every_combination
def test_what_stays_up_is_watched_bounded_and_started_again(files: tuple[str, ...]) -> None:
    for name, service in services(files).items():
        has_limit = "memory" in limits(service) or "mem_limit" in service
        assert has_limit, f"{name} may take all of the memory"
        if name in ONE_SHOTS:
            assert service["healthcheck"] == {"test": ["NONE"]}
            continue
        # The proxy's stands in its image.
        checked = len(service.get("healthcheck", {}).get("test", [])) > 1 or image_of(service) == "proxy"
        assert checked, f"{name} has no health check"
        policy = service.get("restart") or service["deploy"]["restart_policy"]["condition"]
        assert policy in ("unless-stopped", "any"), f"{name} is not started again"


@every_combination
def test_what_must_last_is_on_a_volume(files: tuple[str, ...]) -> None:
    declared = set(model(files)["volumes"])
    kept = []
    for name, service in services(files).items():
        place = KEEPS.get(image_of(service))
        if place and name not in ONE_SHOTS:
            volume = mounts(service).get(place)
            assert volume in declared, f"{name} keeps nothing"
            kept.append(volume)
    assert len(kept) == len(set(kept)) >= 3, "two servers must not share a folder"


@every_deployment
def test_nothing_has_more_rights_than_it_needs(files: tuple[str, ...]) -> None:
    for name, service in services(files).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "/tmp" in mounts(service), name
        if files != (STACK,):
            assert service["security_opt"] == ["no-new-privileges:true"], name
        if image_of(service) not in ("app", "proxy"):
            assert service["user"].partition(":")[0].isdigit() and not service["user"].startswith("0"), name
    users = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.M)
    assert len(users) == 2 and "0" not in users


@every_deployment
def test_only_the_proxy_is_open_to_the_world(files: tuple[str, ...]) -> None:
    networks = model(files)["networks"]
    assert networks["back"]["internal"] is True
    for name, service in services(files).items():
        ports = [str(port) for port in service.get("ports", [])]
        open_ports = [port for port in ports if not port.startswith("127.0.0.1:")]
        assert bool(open_ports) == (name == "nginx"), f"{name}: {ports}"
        assert ("front" in service["networks"]) == (name in ("nginx", "web"))


@every_deployment
def test_the_web_tier_drains_in_time_and_is_counted_in_memory(files: tuple[str, ...]) -> None:
    web, worker = services(files)["web"], services(files)["worker"]
    assert web["stop_grace_period"] == worker["stop_grace_period"] == "20s"
    folder = Path(web["environment"]["PROMETHEUS_MULTIPROC_DIR"])
    assert mounts(web)[str(folder.parent)] == "tmpfs"
    assert "PROMETHEUS_MULTIPROC_DIR" not in worker["environment"]
    assert worker["deploy"]["replicas"] == web["deploy"]["replicas"] == 2


@every_deployment
def test_prometheus_finds_what_it_asks(files: tuple[str, ...]) -> None:
    found = services(files)
    command = found["prometheus"]["command"]
    (config,) = [option.partition("=")[2] for option in command if option.startswith("--config.file=")]
    jobs = yaml.safe_load((DEPLOY / "prometheus" / Path(config).name).read_text())["scrape_configs"]
    for job, name, port in (("web", "web", "PORT"), ("worker", "worker", "WORKER_METRICS_PORT")):
        (asked,) = next(j["dns_sd_configs"] for j in jobs if j["job_name"] == f"flashdrop-{job}")
        assert asked["names"] == [f"tasks.{name}"]
        assert str(asked["port"]) == found[name]["environment"][port]
        if files != (STACK,):  # a swarm has that name by itself
            assert found[name]["networks"]["back"]["aliases"] == [f"tasks.{name}"]
    assert found["grafana"]["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"
    assert set(found["grafana"]["networks"]) & set(found["prometheus"]["networks"])


@every_combination
def test_files_that_are_mounted_are_there(files: tuple[str, ...]) -> None:
    for service in services(files).values():
        for source in mounts(service).values():
            if source.startswith("/"):
                assert Path(source).exists(), source
        # Scripts that a container is started or checked with are among them.
        check = service.get("healthcheck", {}).get("test", [])
        for part in [
            *service.get("entrypoint", []),
            *check,
            *service.get("environment", {}).get("REDIS_CONF", "").split(),
        ]:
            if part.startswith("/usr/local/etc/"):
                configs = {config["target"] for config in service.get("configs", [])}
                folder, _, file = part.rpartition("/")
                assert part in configs or (Path(mounts(service)[folder]) / file).is_file(), part


@every_deployment
def test_the_order_of_the_start(files: tuple[str, ...]) -> None:
    found = services(files)
    if files == (STACK,):
        assert all("depends_on" not in service for service in found.values()), "a swarm knows no order"
        assert found["migrate"]["deploy"]["mode"] == found["mongodb-init"]["deploy"]["mode"] == "replicated-job"
        return
    waits = {name: {n: w["condition"] for n, w in s.get("depends_on", {}).items()} for name, s in found.items()}
    assert waits["web"].items() >= {"migrate": "service_completed_successfully", "redis": "service_healthy"}.items()
    assert waits["worker"]["migrate"] == "service_completed_successfully"
    assert waits["migrate"] == {"postgres": "service_healthy", "mongodb-init": "service_completed_successfully"}
    members = {name for name, service in found.items() if image_of(service) == "mongo"}
    assert set(waits["mongodb-init"]) == members
    assert {f"{name}:27017" for name in members} == {
        part for part in found["mongodb-init"]["command"] if part.endswith(":27017")
    }
    assert waits["nginx"] == {"web": "service_healthy"}
    if CLUSTER in files:
        nodes = {n: s["networks"]["gate"]["ipv4_address"] for n, s in found.items() if KEEPS["redis"] in mounts(s)}
        assert set(waits["redis-cluster-init"]) == set(nodes)
        assert sorted(found["redis-cluster-init"]["command"]) == sorted(f"{ip}:6379" for ip in nodes.values())


def test_an_update_of_the_swarm_loses_nobody() -> None:
    found = services((STACK,))
    update = found["web"]["deploy"]["update_config"]
    assert (update["order"], update["parallelism"], update["failure_action"]) == ("start-first", 1, "rollback")
    for name, service in found.items():
        if name in ONE_SHOTS:
            continue
        deploy = service["deploy"]
        assert deploy["endpoint_mode"] == "dnsrr", f"{name}: nginx and Prometheus must see every task"
        if image_of(service) in KEEPS:
            assert deploy["update_config"]["order"] == "stop-first", f"{name}: two would open one volume"
            assert deploy["placement"]["constraints"] == ["node.labels.flashdrop.stores == true"]
    assert {port["mode"] for port in found["nginx"]["ports"]} == {"host"}


def test_a_changed_config_has_another_name() -> None:
    loaded = yaml.safe_load((DEPLOY / STACK).read_text())
    wanted = {
        key: f"flashdrop_{key}_{hashlib.sha256((DEPLOY / config['file']).read_bytes()).hexdigest()[:8]}"
        for key, config in loaded["configs"].items()
    }
    assert {key: config["name"] for key, config in loaded["configs"].items()} == wanted, "write these names"
    used = {config["source"] for service in loaded["services"].values() for config in service.get("configs", [])}
    assert used == set(loaded["configs"])
    shown = {Path(config["file"]).stem for config in loaded["configs"].values() if "dashboards/" in config["file"]}
    assert {Path(name).stem for name in DASHBOARDS} <= shown
    secrets = loaded["secrets"].items()
    assert all(secret["name"] == f"flashdrop_{key}_${{SECRETS_VERSION:-1}}" for key, secret in secrets)
