"""The real docker client takes what `deploy/run-production.sh` asks, and answers in the shape that the script reads.

Behind it stands an engine that knows one swarm with one stack, and can do nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flashdrop.config import BASE_DIR
from flashdrop.tests.test_deploy_files import docker_client

DEPLOY = BASE_DIR / "deploy"
IMAGE = "flashdrop:one"


def service(name: str, mode: dict[str, Any], **more: Any) -> dict[str, Any]:
    task = {"ContainerSpec": {"Image": IMAGE}, "ForceUpdate": 0}
    spec = {"Name": f"flashdrop_{name}", "Labels": {}, "TaskTemplate": task, "Mode": mode}
    times = {"CreatedAt": "2026-01-01T10:00:00Z", "UpdatedAt": "2026-01-01T10:00:00Z"}
    return {"ID": f"id-of-{name}", "Version": {"Index": 1}, "Spec": spec, "Endpoint": {"Spec": {}}, **times, **more}


def task(number: int, created: str, state: str, **status: str) -> dict[str, Any]:
    known = {"State": state, "Timestamp": created, "ContainerStatus": {}, **status}
    spec = {"ContainerSpec": {"Image": IMAGE}}
    ids = {"ID": f"task{number}", "ServiceID": "id-of-migrate", "NodeID": "this-node", "Slot": 0}
    return {
        **ids,
        "CreatedAt": created,
        "UpdatedAt": created,
        "Status": known,
        "DesiredState": "complete",
        "Spec": spec,
    }


def counts(running: int, desired: int, completed: int = 0) -> dict[str, Any]:
    return {"ServiceStatus": {"RunningTasks": running, "DesiredTasks": desired, "CompletedTasks": completed}}


JOB = {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}
PORT = {"Protocol": "tcp", "TargetPort": 3000, "PublishedPort": 3001, "PublishMode": "host"}
SERVICES = [
    service("grafana", {"Replicated": {"Replicas": 1}}, **counts(1, 1), Endpoint={"Spec": {}, "Ports": [PORT]}),
    service("migrate", JOB, **counts(0, 0, 1)),
    service("nginx", {"Global": {}}, **counts(1, 1)),
    service("web", {"Replicated": {"Replicas": 4}}, **counts(3, 4), UpdateStatus={"State": "rollback_started"}),
]
TASKS = [
    task(1, "2026-01-01T10:00:00.12Z", "failed", Err="task: non-zero exit (1)"),
    task(2, "2026-01-01T10:00:00.123Z", "complete"),
]
INFO = {
    "MemTotal": 4294967296,
    "NCPU": 4,
    "Swarm": {"LocalNodeState": "active", "ControlAvailable": True, "Nodes": 1, "NodeID": "this-node"},
}
NODE = {"ID": "this-node", "Spec": {"Labels": {}}, "Description": {"Hostname": "one"}, "Status": {"State": "ready"}}


class Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        path = re.sub(r"^/v[0-9.]+", "", path)
        kind, _, name = path.strip("/").partition("/")
        answers: dict[str, Any] = {
            "_ping": "OK",
            "info": INFO,
            "version": {"Version": "28.2.2", "ApiVersion": "1.47", "MinAPIVersion": "1.24"},
            "nodes": [NODE],
            "volumes": {"Volumes": [{"Name": "flashdrop_redis", "Driver": "local"}], "Warnings": []},
            "services": SERVICES,
            "tasks": TASKS,
            "containers": [{"Id": "c0ffee", "Names": ["/web"], "Image": IMAGE}],
        }
        found = answers.get(kind)
        if name and name != "json":
            known = {"services": SERVICES, "tasks": TASKS, "nodes": [NODE]}.get(kind, [])
            found = next((it for it in known if name in (it["ID"], it["Spec"].get("Name"))), None)
        body = json.dumps(found if found is not None else {"message": f"{self.path}: not found"}).encode()
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Api-Version", "1.47")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def docker(engine: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [docker_client(), "--host", engine, *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def script() -> str:
    return "".join(path.read_text() for path in (DEPLOY / "run-production.sh", *sorted((DEPLOY / "lib").glob("*.sh"))))


def template(part: str) -> str:
    """The script's own template that has this part."""
    return next(found for found in re.findall(r"--format '([^']+)'", script()) if part in found)


SERVICES_TOLD = """\
flashdrop_grafana|replicated|1/1
flashdrop_migrate|replicated job|0/0 (1/1 completed)
flashdrop_nginx|global|1/1
flashdrop_web|replicated|3/4
"""
# The first ends with a tenth of a second less than the second: as texts they stand in the same order.
TASKS_TOLD = """\
2026-01-01 10:00:00.12 +0000 UTC|task1|failed|task: non-zero exit (1)
2026-01-01 10:00:00.123 +0000 UTC|task2|complete|
"""


@pytest.mark.parametrize(
    ("arguments", "part", "answer"),
    [
        ("version", "Server.Version", "28.2.2\n"),
        ("info", "LocalNodeState", "active true 1 4294967296 4 this-node\n"),
        ("service inspect flashdrop_nginx", "{{.ID}}", "id-of-nginx\n"),
        ("service inspect flashdrop_web", "{{.Replicas}}{{end}}", "4\n"),
        ("service inspect flashdrop_nginx", "{{.Replicas}}{{end}}", "\n"),
        ("service inspect flashdrop_grafana", "PublishedPort", "3001 \n"),
        ("service inspect flashdrop_nginx", "PublishedPort", "\n"),
        (
            "service inspect flashdrop_nginx flashdrop_web",
            "UpdateStatus",
            "flashdrop_nginx \nflashdrop_web rollback_started\n",
        ),
        ("stack services flashdrop", "{{.Mode}}", SERVICES_TOLD),
        ("inspect --type task task1 task2", "{{.CreatedAt}}", TASKS_TOLD),
    ],
)
def test_the_client_answers_in_the_shape_that_the_script_reads(
    engine: str, arguments: str, part: str, answer: str
) -> None:
    asked = docker(engine, *arguments.split(), "--format", template(part))
    assert (asked.returncode, asked.stdout) == (0, answer), asked.stderr


def test_what_the_migration_is_compared_by_is_its_whole_task(engine: str) -> None:
    asked = docker(engine, "service", "inspect", "--format", template("TaskTemplate"), "flashdrop_migrate")
    assert json.loads(asked.stdout)["ContainerSpec"]["Image"] == IMAGE
    # Before the first deployment there is none: nothing is printed, and the script goes on.
    asked = docker(engine, "service", "inspect", "--format", template("TaskTemplate"), "flashdrop_elsewhere")
    assert (asked.returncode, asked.stdout.strip()) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("service ps --quiet --no-trunc flashdrop_migrate", {"task1", "task2"}),
        ("node ls --quiet --filter node.label=flashdrop.stores=true", {"this-node"}),
        ("volume ls --quiet --filter label=com.docker.stack.namespace=flashdrop", {"flashdrop_redis"}),
        ("ps --quiet --filter label=com.docker.swarm.service.name=flashdrop_web", {"c0ffee"}),
    ],
)
def test_lists_are_bare_names(engine: str, arguments: str, answer: set[str]) -> None:
    asked = docker(engine, *arguments.split())
    assert (asked.returncode, set(asked.stdout.split())) == (0, answer), asked.stderr


COMMANDS = [
    *("buildx version", "volume ls", "ps", "service inspect", "service logs", "service ps", "service scale", "push"),
    *("service update", "stack deploy", "stack ps", "stack services", "swarm init", "node ls", "node update", "build"),
    *("exec", "info", "inspect", "version"),
]


def test_the_client_knows_every_command_and_every_option(engine: str) -> None:
    text = script()
    options = re.search(r"local options=\((--compose.*?)\) service", text)
    assert options
    text = text.replace('stack deploy "${options[@]}"', f"stack deploy {options[1]} --with-registry-auth")
    used: dict[str, set[str]] = {}
    for line in re.findall(r"\bdocker ([a-z]+ .*)", re.sub(r"(?s)HELP'.*?\nHELP", "", text)):
        command = next((name for name in COMMANDS if re.match(rf"{name}\b", line)), None)
        if command:
            own = re.split(r"\|\||\||&&|; |\)| env | python ", line)[0]
            used.setdefault(command, set()).update(re.findall(r" (--[a-z-]+)", own))
    assert set(used) == set(COMMANDS)
    assert {"--compose-file", "--prune", "--resolve-image"} <= used["stack deploy"]
    del used["buildx version"]  # a plugin, which need not be here
    for command, known in used.items():
        told = docker(engine, *command.split(), "--help").stdout
        for option in known - {"--help"}:
            assert re.search(rf"{option}\b", told), f"docker {command} {option}"
