"""`deploy/run-production.sh`, step by step: what it asks of docker, what it says on a failure, what it leaves alone.

The engine is a stand-in on the PATH; it keeps a little state and can fail at each step. Files, git, curl and what
answers on the shop's port are real.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socketserver
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from flashdrop.config import BASE_DIR
from flashdrop.embedded.process import free_port

SOURCE = BASE_DIR / "deploy"
# All that the script may use of the system: what is not here can't be found.
TOOLS = ("bash", "cat", "curl", "cut", "dirname", "env", "git", "ln", "mkdir", "od", "rm", "sha256sum", "sort", "xargs")
OF_STORES = ("secret_key", "postgres_password", "mongodb_password", "mongodb_keyfile")
SECRETS = (
    *OF_STORES,
    "redis_password",
    "admin_password",
    "grafana_password",
    "database_url",
    "mongodb_url",
    "redis_url",
)
GIB = 1024**3

DOCKER = r"""#!/bin/sh
# Keeps its state in files. `fail` names the step that fails.
S=$STAND_IN PATH=/usr/bin:/bin
of() { text=; [ ! -f "$S/$1" ] || read -r text <"$S/$1" || :; }
case "$1" in stack|service|swarm|buildx|volume|node) name="$1 $2" ;; *) name=$1 ;; esac
case "$*" in
  *seed_demo*) name=seed ;;
  *readyz*) name=readyz ;;
  *"--target app"*) name="build app" ;;
  *"--target proxy"*) name="build proxy" ;;
  *UpdateStatus*) name="update status" ;;
  *--help*) name=help ;;
esac
{ printf '%s' "$name"; printf '\037%s' "$@"; printf '\036'; } >>"$S/calls"
of fail; [ "$name" != "$text" ] || { echo "boom: $name" >&2; exit 1; }
for last in "$@"; do :; done
task() { n=0; while read -r l; do n=$((n + 1)); done <"$S/tasks"
  of outcome; echo "2026-01-01 10:00:0$n +0000 UTC|task$n|$text|exit code 1" >>"$S/tasks"; }
running() { [ -f "$S/deployed" ] || { echo "no such service" >&2; exit 1; }; }
case "$name" in
  help) [ -f "$S/old" ] || echo "  -d, --detach" ;;
  info) of info; echo "$text" ;;
  "node ls") of labelled; echo "$text" ;;
  "node update") echo this-node >"$S/labelled" ;;
  "swarm init") echo "docker swarm join --token SECRET"; echo "active true 1 8589934592 4 this-node" >"$S/info" ;;
  "volume ls") of volumes; echo "$text" ;;
  "service inspect") running
    case "$*" in *TaskTemplate*) of spec ;; *Replicas*) of replicas ;; *Ports*) of ports ;; esac; echo "$text" ;;
  "update status") of update; echo "flashdrop_nginx "; echo "flashdrop_web $text" ;;
  "stack deploy") env >"$S/env"; : >"$S/deployed"
    of spec; [ "$FLASHDROP_VERSION $SECRETS_VERSION" = "$text" ] || task
    echo "$FLASHDROP_VERSION $SECRETS_VERSION" >"$S/spec"
    if [ -f "$S/stubborn" ]; then echo 3; else echo "${WEB_REPLICAS:-3}"; fi >"$S/replicas" ;;
  "service update") task ;;
  "service scale") echo "${last#*=}" >"$S/replicas" ;;
  "service ps") running; while IFS='|' read -r a id b; do echo "$id"; done <"$S/tasks" ;;
  inspect) while read -r l; do echo "$l"; done <"$S/tasks" ;;
  "service logs") echo "last words of $last" ;;
  "stack services") of replicas; r=$text have=$text; of slow
    [ -z "$text" ] || have=1; [ "$text" = always ] || : >"$S/slow"
    printf 'flashdrop_%s\n' "migrate|replicated job|0/1 (0/1 completed)" "nginx|global|1/1" \
      "mongodb-init|replicated|0/1" "web|replicated|$have/$r (max 4 per node)" ;;
  ps) [ -f "$S/elsewhere" ] || echo "container-of-$last" ;;
esac
exit 0
"""
K6 = """#!/bin/sh
{ printf 'k6'; for a in "$@"; do printf '\\037%s' "$a"; done; printf '\\036'; } >>"$STAND_IN/calls"
exit "$(cat "$STAND_IN/k6")"
"""


def facts(state: str = "active true", nodes: int = 1, memory: int = 8 * GIB, cpus: int = 4) -> str:
    """What `docker info` tells, in the script's format."""
    return f"{state} {nodes} {memory} {cpus} this-node"


class Shop(BaseHTTPRequestHandler):
    """What nginx would be: answers as soon as the stack is deployed."""

    answers: dict[str, int] = {}
    asked: list[tuple[str, str | None]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        self.send_response(self.answers.get(self.path, 200))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@dataclass
class Host:
    """A checkout in a folder with a space in its name, and a PATH with nothing but what the script may use."""

    folder: Path
    port: int
    tls_port: int
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def root(self) -> Path:
        return self.folder / "a checkout"

    @property
    def secrets(self) -> Path:
        return self.root / "deploy" / "secrets"

    def set(self, **files: str) -> None:
        for name, text in files.items():
            (self.state / name).write_text(text)

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": str(self.folder / "bin"),
            "STAND_IN": str(self.state),
            "HTTP_PORT": str(self.port),
            "HTTPS_PORT": str(self.tls_port),
            "FLASHDROP_VERSION": "one",
            **self.environment,
        }
        return subprocess.Popen(
            [str(self.root / "deploy" / "run-production.sh"), *arguments],
            cwd=self.folder,
            env={name: value for name, value in environment.items() if value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> Ran:
        (self.state / "calls").write_text("")
        process = self.process("--timeout", "5", *arguments)
        out, err = process.communicate(timeout=20)
        return Ran(process.returncode, out, err, self.calls())

    def calls(self) -> list[list[str]]:
        return [call.split("\037") for call in (self.state / "calls").read_text().split("\036")[:-1]]

    def secret_values(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.secrets.iterdir()}


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str
    calls: list[list[str]]

    @property
    def steps(self) -> list[str]:
        """What changes something, in order."""
        changing = ("swarm init", "build ", "push", "stack deploy", "service scale", "service update", "seed", "k6")
        return [call[0] for call in self.calls if call[0].startswith(changing)]

    def arguments(self, step: str) -> list[str]:
        return next(call[1:] for call in self.calls if call[0] == step)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path, free_port(), free_port())
    made.state.mkdir()
    made.set(calls="", info=facts(), volumes="", tasks="", outcome="complete", spec="", update="", k6="0")
    (made.root / "deploy").mkdir(parents=True)
    shutil.copytree(SOURCE / "lib", made.root / "deploy" / "lib")
    shutil.copy(SOURCE / "run-production.sh", made.root / "deploy")
    for name in ("stack.yml", "Dockerfile"):
        (made.root / "deploy" / name).write_text("")
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, f"{name} is missing"
        (binaries / name).symlink_to(found)
    for name, text in (("docker", DOCKER), ("k6", K6), ("sleep", "#!/bin/sh\nexec /bin/sleep 0.1\n")):
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)
    yield made


@pytest.fixture
def front_door(host: Host) -> Iterator[type[Shop]]:
    """Listens on the shop's port from the moment on in which the stack is deployed."""
    kind = type("ThisShop", (Shop,), {"answers": {}, "asked": []})
    ended = threading.Event()

    def open_when_deployed() -> None:
        # One thread opens, serves and closes: a test that ends while the server is being opened ends it all the same.
        while not ended.wait(0.01):
            if (host.state / "deployed").exists():
                with ThreadingHTTPServer(("127.0.0.1", host.port), kind) as server:
                    server.timeout = 0.05
                    while not ended.is_set():
                        server.handle_request()

    thread = threading.Thread(target=open_when_deployed)
    thread.start()
    yield kind
    ended.set()
    thread.join()


def holds(text: str, *parts: str) -> None:
    for part in parts:
        assert part in text, text


# One run after the other.


def test_a_first_run_builds_deploys_migrates_waits_seeds_and_tells_where_the_shop_is(
    host: Host, front_door: type[Shop]
) -> None:
    ran = host.run()
    assert ran.code == 0, ran.err
    assert ran.steps == ["build app", "build proxy", "stack deploy", "seed"]
    root = str(host.root)
    dockerfile = f"{root}/deploy/Dockerfile"
    assert ran.arguments("build app") == [
        *("build", "--file", dockerfile, "--target", "app", "--tag", "flashdrop:one", root)
    ]
    assert "flashdrop-proxy:one" in ran.arguments("build proxy")
    assert ran.arguments("stack deploy") == [
        *("stack", "deploy", "--compose-file", f"{root}/deploy/stack.yml", "--prune"),
        *("--resolve-image", "changed", "--detach", "flashdrop"),
    ]
    # In this order: the migration is complete, then the shop is asked, then the sale is made.
    names = [call[0] for call in ran.calls]
    assert names.index("inspect") < names.index("stack services") < names.index("readyz") < names.index("seed")
    assert front_door.asked == [("/healthz", f"127.0.0.1:{host.port}"), ("/", f"127.0.0.1:{host.port}")]
    assert ran.arguments("seed")[-4:] == ["manage.py", "seed_demo", "--sku", "demo"]
    holds(
        ran.out, f"http://127.0.0.1:{host.port}/", "/admin/", "deploy/secrets/admin_password", "grafana", "prometheus"
    )
    exported = dict(line.split("=", 1) for line in (host.state / "env").read_text().splitlines() if "=" in line)
    assert re.fullmatch("[0-9a-f]{12}", exported["SECRETS_VERSION"])
    assert exported["FLASHDROP_IMAGE"] == "flashdrop"
    assert exported["FLASHDROP_VERSION"] == "one"
    assert "WEB_REPLICAS" not in exported, "the stack file's own number holds"


def test_a_second_run_changes_no_secret_starts_no_migration_and_keeps_the_number_of_web_tasks(
    host: Host, front_door: type[Shop]
) -> None:
    assert host.run("--web-replicas", "5").code == 0
    before = host.secret_values()
    version = (host.state / "spec").read_text()
    ran = host.run()
    assert ran.code == 0, ran.err
    assert host.secret_values() == before
    assert (host.state / "spec").read_text() == version
    assert len((host.state / "tasks").read_text().splitlines()) == 1
    assert ran.steps == ["build app", "build proxy", "stack deploy", "seed"]
    assert "WEB_REPLICAS=5" in (host.state / "env").read_text()
    assert (host.state / "replicas").read_text().strip() == "5"


def test_it_may_be_run_again_with_another_number_of_web_tasks(host: Host, front_door: type[Shop]) -> None:
    host.set(stubborn="")  # a stack file that doesn't read WEB_REPLICAS
    ran = host.run("--web-replicas", "4")
    assert ran.code == 0, ran.err
    assert ran.arguments("service scale") == ["service", "scale", "--detach", "flashdrop_web=4"]
    assert "service scale" not in host.run("--web-replicas", "3").steps
    assert host.run("--web-replicas", "7", "--skip-build").steps == ["stack deploy", "service scale", "seed"]


def test_a_changed_secret_gets_another_version_and_a_new_migration(host: Host, front_door: type[Shop]) -> None:
    assert host.run().code == 0
    version = (host.state / "spec").read_text()
    (host.secrets / "admin_password").write_text("of my own choice")
    ran = host.run()
    assert ran.code == 0, ran.err
    assert (host.state / "spec").read_text() != version
    assert (host.secrets / "admin_password").read_text() == "of my own choice"
    assert len((host.state / "tasks").read_text().splitlines()) == 2


def test_an_older_client_is_not_given_an_option_that_it_doesnt_know(host: Host, front_door: type[Shop]) -> None:
    host.set(old="")
    ran = host.run()
    assert ran.code == 0, ran.err
    assert "--detach" not in ran.arguments("stack deploy")


# What fails says so, and nothing comes after it.

FAILURES = {
    "version": (4, "engine doesn't answer", []),
    "buildx version": (3, "buildx plugin is missing", []),
    "info": (4, "doesn't tell about itself", []),
    "build app": (8, "flashdrop:one can't be built", ["build app"]),
    "build proxy": (8, "flashdrop-proxy:one can't be built", ["build app", "build proxy"]),
    "stack deploy": (9, "can't be deployed", ["build app", "build proxy", "stack deploy"]),
    "service scale": (10, "can't be scaled", ["build app", "build proxy", "stack deploy", "service scale"]),
    "stack services": (12, "docker to answer", ["build app", "build proxy", "stack deploy", "service scale"]),
    "readyz": (12, "/readyz of a web task", ["build app", "build proxy", "stack deploy", "service scale"]),
    "seed": (13, "demo sale can't be made", ["build app", "build proxy", "stack deploy", "service scale", "seed"]),
}


@pytest.mark.parametrize("step", FAILURES)
def test_a_step_that_fails_ends_the_run_with_a_sentence_and_its_own_code(
    host: Host, front_door: type[Shop], step: str
) -> None:
    code, sentence, steps = FAILURES[step]
    host.set(fail=step, stubborn="")
    ran = host.run("--web-replicas", "2", "--run-k6", "--timeout", "1")
    assert ran.code == code, ran.err
    holds(ran.err, "run-production: ", sentence, "  do: ")
    assert ran.steps == steps
    assert "== ready" not in ran.out


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        ("inactive false", "--init-swarm"),
        ("locked false", "docker swarm unlock"),
        ("pending false", "The swarm is 'pending'"),
        ("active false", "docker node ls"),
    ],
)
def test_without_a_swarm_to_manage_it_says_which_command_helps(host: Host, info: str, sentence: str) -> None:
    host.set(info=facts(info))
    ran = host.run()
    assert (ran.code, ran.steps) == (5, [])
    holds(ran.err, sentence)
    assert not host.secrets.exists()


def test_a_swarm_is_made_only_when_asked_for_and_once(host: Host, front_door: type[Shop]) -> None:
    host.set(info=facts("inactive false", 0))
    ran = host.run("--init-swarm")
    assert ran.code == 0, ran.err
    assert ran.steps[0] == "swarm init"
    assert "SECRET" not in ran.out + ran.err
    assert "swarm init" not in host.run("--init-swarm").steps


def test_a_swarm_that_cant_be_made_says_so(host: Host) -> None:
    host.set(info=facts("inactive false", 0), fail="swarm init")
    ran = host.run("--init-swarm")
    assert (ran.code, ran.steps) == (5, ["swarm init"])
    holds(ran.err, "--advertise-addr")


@pytest.mark.parametrize("name", ["docker", "curl", "sha256sum", "git", "k6"])
def test_a_missing_program_is_named(host: Host, name: str) -> None:
    (host.folder / "bin" / name).unlink()
    host.environment["FLASHDROP_VERSION"] = ""
    ran = host.run("--run-k6")
    assert (ran.code, ran.calls) == (3, [])
    holds(ran.err, name, "  do: ")


def test_a_missing_file_is_named(host: Host) -> None:
    (host.root / "deploy" / "stack.yml").unlink()
    ran = host.run()
    assert (ran.code, ran.calls) == (3, [])
    holds(ran.err, "deploy/stack.yml is missing")


def test_a_port_that_is_taken_is_named_before_anything_is_made(host: Host) -> None:
    for port in (host.port, host.tls_port):
        with socketserver.TCPServer(("127.0.0.1", port), socketserver.BaseRequestHandler):
            ran = host.run()
        assert (ran.code, ran.steps) == (6, [])
        holds(ran.err, f"port {port}", "HTTP_PORT=")
    assert not host.secrets.exists()


def test_a_small_host_is_only_told_about(host: Host, front_door: type[Shop]) -> None:
    host.set(info=facts(memory=GIB, cpus=1))
    ran = host.run()
    assert ran.code == 0, ran.err
    holds(ran.err, "note: this host has 1 CPUs and 1024 MiB")


def test_the_only_node_holds_the_stores_and_is_marked_once(host: Host, front_door: type[Shop]) -> None:
    ran = host.run()
    assert ran.arguments("node update") == ["node", "update", "--label-add", "flashdrop.stores=true", "this-node"]
    assert "node update" not in [call[0] for call in host.run().calls]


def test_among_several_nodes_the_operator_chooses_who_holds_the_stores(host: Host) -> None:
    host.set(info=facts(nodes=3))
    ran = host.run()
    assert (ran.code, ran.steps) == (5, [])
    holds(ran.err, "No node is marked", "docker node update --label-add flashdrop.stores=true NODE")


# Images.


def test_other_nodes_cant_pull_an_image_without_a_registry(host: Host, front_door: type[Shop]) -> None:
    host.set(info=facts(nodes=3), labelled="node-2")
    ran = host.run()
    assert (ran.code, ran.steps) == (8, [])
    holds(ran.err, "3 nodes", "can't pull", "--skip-build")
    assert host.run("--skip-build").steps == ["stack deploy", "seed"]


def test_images_go_to_the_registry_where_one_is_named(host: Host, front_door: type[Shop]) -> None:
    host.set(info=facts(nodes=3), labelled="node-2")
    host.environment["FLASHDROP_IMAGE"] = "registry.example:5000/shop/flashdrop"
    ran = host.run()
    assert ran.code == 0, ran.err
    assert ran.steps[:5] == ["build app", "push", "build proxy", "push", "stack deploy"]
    assert ran.arguments("push") == ["push", "registry.example:5000/shop/flashdrop:one"]
    assert "--with-registry-auth" in ran.arguments("stack deploy")
    host.set(fail="push")
    ran = host.run()
    assert (ran.code, ran.steps) == (8, ["build app", "push"])
    holds(ran.err, "docker login registry.example:5000")


def test_the_version_is_the_revision_and_tells_what_is_not_committed(host: Host, front_door: type[Shop]) -> None:
    host.environment.update(FLASHDROP_VERSION="", HOME=str(host.folder), GIT_CONFIG_NOSYSTEM="1")
    assert host.run().code == 3, "no checkout"

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=T", "-c", "user.email=t@example.com")
        command = ["git", "-C", str(host.root), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def version() -> str:
        ran = host.run("--no-seed")
        assert ran.code == 0, ran.err
        return ran.arguments("build app")[-2].partition(":")[2]

    (host.root / ".gitignore").write_text("deploy/secrets/\n")
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "all")
    revision = git("rev-parse", "--short", "HEAD")
    assert version() == revision
    (host.root / "deploy" / "Dockerfile").write_text("# changed")
    changed = version()
    assert re.fullmatch(rf"{revision}-dirty-[0-9a-f]{{12}}", changed)
    assert version() == changed, "the same changes are the same version"
    (host.root / "new.py").write_text("")
    assert version() not in (changed, revision)


# Secrets.


def test_secrets_are_random_private_and_agree_with_each_other(host: Host) -> None:
    ran = host.run("--secrets-only")
    assert ran.code == 0, ran.err
    assert ran.calls == []
    found = host.secret_values()
    assert set(found) == set(SECRETS)
    assert stat.S_IMODE(host.secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in host.secrets.iterdir()} == {0o600}
    made = [value for name, value in found.items() if not name.endswith("_url")]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in made)
    assert found["database_url"] == f"postgres://flashdrop:{found['postgres_password']}@postgres:5432/flashdrop"
    options = "replicaSet=rs0&authSource=admin"
    assert found["mongodb_url"] == f"mongodb://flashdrop:{found['mongodb_password']}@mongodb:27017/flashdrop?{options}"
    assert found["redis_url"] == f"redis://:{found['redis_password']}@redis:6379/0"
    assert not any(value in ran.out + ran.err for value in found.values())


def test_no_secret_is_printed_given_as_an_argument_or_exported(host: Host, front_door: type[Shop]) -> None:
    ran = host.run()
    seen = ran.out + ran.err + str(ran.calls) + (host.state / "env").read_text()
    assert ran.code == 0
    assert not any(value in seen for value in host.secret_values().values())


def test_a_secret_that_is_there_is_kept_and_used(host: Host) -> None:
    host.secrets.mkdir()
    (host.secrets / "redis_password").write_text("mine")
    (host.secrets / "mongodb_url").write_text("mongodb://somebody:else@elsewhere.example/shop")
    assert host.run("--secrets-only").code == 0
    found = host.secret_values()
    assert found["redis_password"] == "mine"
    assert found["redis_url"] == "redis://:mine@redis:6379/0"
    assert found["mongodb_url"] == "mongodb://somebody:else@elsewhere.example/shop"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"redis_password": "new", "redis_url": "redis://:old@redis:6379/0"}, "redis_url doesn't hold the password"),
        ({"postgres_password": "a/b@c"}, "percent-encoded"),
        ({"secret_key": ""}, "secret_key is empty"),
    ],
)
def test_secrets_that_cant_work_are_refused_before_a_build(host: Host, files: dict[str, str], sentence: str) -> None:
    host.secrets.mkdir()
    for name, text in files.items():
        (host.secrets / name).write_text(text)
    ran = host.run()
    assert (ran.code, ran.steps) == (7, [])
    holds(ran.err, sentence, "  do: ")
    assert {name: (host.secrets / name).read_text() for name in files} == files


@pytest.mark.parametrize("name", OF_STORES)
def test_what_the_stores_were_made_with_is_not_made_anew(host: Host, name: str) -> None:
    assert host.run("--secrets-only").code == 0
    (host.secrets / name).unlink()
    host.set(volumes="flashdrop_postgres\n")
    ran = host.run()
    assert (ran.code, ran.steps) == (7, [])
    holds(ran.err, f"lacks {name}", "bring back")
    assert not (host.secrets / name).exists()


def test_without_random_bytes_no_secret_is_left_behind(host: Host) -> None:
    (host.folder / "bin" / "od").unlink()
    (host.folder / "bin" / "od").write_text("#!/bin/sh\nexit 1\n")
    (host.folder / "bin" / "od").chmod(0o755)
    ran = host.run("--secrets-only")
    assert ran.code == 7
    holds(ran.err, "random bytes")
    assert list(host.secrets.iterdir()) == []


def test_ctrl_c_leaves_nothing_half_written(host: Host, front_door: type[Shop]) -> None:
    # The first password is written, but not in its place, for as long as this takes.
    (host.folder / "bin" / "ln").unlink()
    (host.folder / "bin" / "ln").write_text("#!/bin/sh\nexec /bin/sleep 5\n")
    (host.folder / "bin" / "ln").chmod(0o755)
    process = host.process()
    end = time.monotonic() + 10
    while not (host.secrets.exists() and list(host.secrets.iterdir())) and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    holds(err, "goes on from here")
    assert list(host.secrets.iterdir()) == []
    (host.folder / "bin" / "ln").unlink()
    (host.folder / "bin" / "ln").symlink_to(shutil.which("ln") or "ln")
    assert host.run().code == 0


# Waiting.


@pytest.mark.parametrize("outcome", ["failed", "rejected"])
def test_a_migration_that_fails_shows_its_last_words(host: Host, front_door: type[Shop], outcome: str) -> None:
    host.set(outcome=outcome)
    ran = host.run()
    assert ran.code == 11, ran.err
    holds(ran.err, "last words of flashdrop_migrate", "The migration failed: exit code 1")
    assert "seed" not in ran.steps
    assert "stack services" not in [call[0] for call in ran.calls]
    # The next run tries once more, though nothing has changed.
    host.set(outcome="complete")
    ran = host.run()
    assert ran.code == 0, ran.err
    assert ran.arguments("service update") == ["service", "update", "--force", "--detach", "flashdrop_migrate"]


def test_a_migration_that_never_ends_is_given_up_in_time(host: Host, front_door: type[Shop]) -> None:
    host.set(outcome="running")
    ran = host.run("--timeout", "1")
    assert ran.code == 11
    holds(ran.out, "waiting for the migration, which is running")
    holds(ran.err, "After 1 s", "last words of flashdrop_migrate", "look with: docker service logs")


def test_tries_that_failed_since_the_deployment_are_counted() -> None:
    tries = "0 early|task0|failed|no\n1 first|task1|failed|no\n2 second|task2|failed|no\n3 third|task3|preparing|\n"
    words = "docker() { if [[ $1 == inspect ]]; then printf %s \"$TASKS\"; else echo task; fi; }; KNOWN='task0'"
    command = f"source '{SOURCE}/lib/waiting.sh'; STACK=x; {words}; has_migrated || echo \"$PENDING\""
    environment = {**os.environ, "TASKS": tries}
    told = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert told.stdout == "the migration, which is preparing after 2 failed tries\n", told.stderr


def test_a_migration_of_an_earlier_version_counts_for_nothing(host: Host, front_door: type[Shop]) -> None:
    assert host.run().code == 0
    host.set(outcome="failed")
    host.environment["FLASHDROP_VERSION"] = "two"
    assert host.run().code == 11


def test_tasks_that_come_up_slowly_are_waited_for(host: Host, front_door: type[Shop]) -> None:
    host.set(slow="once")
    ran = host.run()
    assert ran.code == 0, ran.err
    holds(ran.out, "waiting for web 1/3")
    assert "migrate 0/1" not in ran.out


def test_tasks_that_never_come_up_are_given_up_in_time(host: Host, front_door: type[Shop]) -> None:
    host.set(slow="always")
    ran = host.run("--timeout", "1")
    assert ran.code == 12
    holds(ran.err, "After 1 s still waiting for web 1/3", "look with: docker stack ps --no-trunc flashdrop")
    assert ran.calls[-1][1:] == ["stack", "ps", "--no-trunc", "flashdrop"]
    assert front_door.asked == []


@pytest.mark.parametrize("path", ["/healthz", "/"])
def test_a_shop_that_doesnt_answer_through_nginx_is_not_ready(host: Host, front_door: type[Shop], path: str) -> None:
    front_door.answers[path] = 502
    ran = host.run("--timeout", "1")
    assert ran.code == 12
    holds(ran.err, f"still waiting for http://127.0.0.1:{host.port}{path} to answer")
    assert "seed" not in ran.steps


def test_a_port_on_which_nobody_listens_is_not_ready(host: Host) -> None:
    assert host.run("--timeout", "1").code == 12


@pytest.mark.parametrize("state", ["paused", "rollback_started", "rollback_completed"])
def test_a_version_that_swarm_gave_up_is_told_at_once(host: Host, front_door: type[Shop], state: str) -> None:
    host.set(update=state)
    ran = host.run()
    assert ran.code == 12
    holds(ran.err, f"new version of web didn't come up; swarm says: {state}", "docker service logs flashdrop_web")
    assert "seed" not in ran.steps


def test_an_update_under_way_is_waited_for(host: Host, front_door: type[Shop]) -> None:
    host.set(update="updating")
    ran = host.run("--timeout", "1")
    assert ran.code == 12
    holds(ran.err, "web is being updated")


def test_the_shop_is_asked_under_its_own_name(host: Host, front_door: type[Shop]) -> None:
    host.environment["ALLOWED_HOSTS"] = "shop.example, 127.0.0.1"
    ran = host.run()
    assert ran.code == 0, ran.err
    assert {name for _, name in front_door.asked} == {f"shop.example:{host.port}"}
    holds(ran.out, f"http://shop.example:{host.port}/")


# The sale, and its shoppers.


def test_the_demo_sale_takes_its_settings_and_can_be_left_out(host: Host, front_door: type[Shop]) -> None:
    host.environment["DEMO_STOCK"] = "50"
    ran = host.run("--sku", "lamp")
    assert ran.arguments("seed") == [
        *("exec", "--env", "DEMO_STOCK=50", "container-of-label=com.docker.swarm.service.name=flashdrop_worker"),
        *("env", "-u", "PROMETHEUS_MULTIPROC_DIR", "python", "manage.py", "seed_demo", "--sku", "lamp"),
    ]
    assert "seed" not in host.run("--no-seed").steps


def test_without_a_task_on_this_node_it_says_how_to_seed_elsewhere(host: Host, front_door: type[Shop]) -> None:
    host.set(elsewhere="")
    ran = host.run()
    assert ran.code == 13
    holds(ran.err, "No task of the shop runs on this node", "manage.py seed_demo --sku demo", "--no-seed")
    assert host.run("--no-seed").code == 0


@pytest.mark.parametrize("verdict", [0, 99, 108])
def test_the_verdict_of_k6_is_the_exit_code(host: Host, front_door: type[Shop], verdict: int) -> None:
    host.set(k6=str(verdict))
    ran = host.run("--run-k6")
    assert ran.code == verdict
    assert ran.steps[-2:] == ["seed", "k6"]
    url = f"API_URL=http://127.0.0.1:{host.port}"
    assert ran.arguments("k6") == ["run", "-e", url, "-e", "SKU=demo", f"{host.root}/k6/mixed.js"]
    holds(ran.out, "== ready")
    assert (BASE_DIR / "k6" / "mixed.js").exists()


def test_published_ports_of_the_watchers_are_told(host: Host, front_door: type[Shop]) -> None:
    host.set(ports="3000 ")
    holds(host.run().out, ":3000/")


# Options.


@pytest.mark.parametrize(
    "options",
    [
        *(["--web-replicas", value] for value in ("0", "-1", "two", "1.5", "1000", "")),
        ["--web-replicas"],
        ["--timeout", "soon"],
        ["--stack", "Shop!"],
        ["--sku", "A b"],
        ["--url", "shop.example"],
        ["--unknown"],
        ["web"],
    ],
)
def test_an_option_that_cant_be_used_is_named_before_anything_is_asked(host: Host, options: list[str]) -> None:
    if options == ["--web-replicas", ""]:
        host.environment["WEB_REPLICAS"] = "many"
        options = []
    ran = host.run(*options)
    assert (ran.code, ran.calls) == (2, []), ran.err
    holds(ran.err, options[0] if options else "--web-replicas is 'many'")
    assert not host.secrets.exists()


def test_help_names_every_option_and_every_exit_code(host: Host) -> None:
    (host.folder / "bin" / "docker").unlink()
    ran = host.run("--help")
    assert ran.code == 0
    sources = [SOURCE / "run-production.sh", *(SOURCE / "lib").glob("*.sh")]
    text = "".join(path.read_text() for path in sources)
    options = set(re.findall(r"^ +(--[a-z0-9-]+)[ )|]", text.partition("read_options()")[2], re.M))
    assert len(options) > 8
    holds(ran.out, *options)
    codes = set(re.findall(r"\b(?:fail|await) ([0-9]+) ", text))
    assert codes >= {"2", "12", "13"}
    for code in codes:
        assert re.search(rf"[:;]\s+{code} ", ran.out), code


# The stack file, and what the script takes for granted about it.


def test_the_script_and_the_stack_file_agree() -> None:
    text = (SOURCE / "stack.yml").read_text()
    stack = yaml.safe_load(text)
    script = "".join(path.read_text() for path in (SOURCE / "lib").glob("*.sh"))
    files = {Path(secret["file"]).name for secret in stack["secrets"].values()}
    assert files == set(SECRETS)
    assert all("${SECRETS_VERSION" in secret["name"] for secret in stack["secrets"].values())
    assert "${WEB_REPLICAS" in str(stack["services"]["web"]["deploy"]["replicas"])
    services = stack["services"].items()
    once = {name for name, service in services if str(service["deploy"].get("mode")).endswith("job")}
    assert once == set(re.findall(r'ONE_SHOT="(.*)"', script)[0].split()) == {"migrate", "mongodb-init"}
    label = re.findall("STORES=(.*)=true", script)[0]
    assert f"node.labels.{label} == true" in text
