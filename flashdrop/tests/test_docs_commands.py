"""Every command of the documentation does what it is said to do when it is typed as it is written."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from conftest import BASE_DIR, MONGO_PORT, Processes
from flashdrop.embedded.process import free_port
from flashdrop.stress.kit import PROFILES, SCENARIOS
from flashdrop.tests.docs_commands import KINDS, Command, How, commands, named_files, typed_in
from flashdrop.tests.waiting import answers, until

COMMANDS = commands()
SECONDS = 60
SKU = "rehearsal"
# What a reader puts in place of what is written, beside `SKU` and addresses.
FILLED = {"N": "3", "NAME": "somebody", "ADDRESS": "192.0.2.7", "FILE": "file.txt", "PORT": "1"}
# Commands that other commands of a page have prepared.
FIRST = (rf"manage\.py seed_demo --sku {SKU}\b", r"manage\.py mint_shoppers 20000")
# This installation is no production, and its ledger has lost nothing: both are found, and told by the exit code.
MAY_REFUSE = r"manage\.py (doctor|forget_sale)"
# Where the files that a page speaks of are: it says so in its words.
FOLDERS = ("", "deploy/kubernetes")


@dataclass(frozen=True)
class Site:
    """A running shop with a ledger of its own, and a folder to stand in."""

    url: str
    folder: Path
    environment: dict[str, str]

    def typed(self, text: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env=self.environment | more, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip


def filled(text: str, url: str = "http://shop.test") -> str:
    """What a reader types."""
    text = re.sub(r"http://<[^>]*host>:8000|https://shop(?=/)", url, text)
    text = re.sub(r"\bSKU\b(?!=)|<sku>", SKU, text)
    return re.sub(rf"(?<![-=])\b({'|'.join(FILLED)})\b(?![=:])", lambda found: FILLED[found[1]], text)


@pytest.fixture(scope="module")
def site(stores: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp("docs"), free_port()
    own = {
        "PATH": f"{BASE_DIR}:{BASE_DIR}/.venv/bin:{os.environ['PATH']}",
        "MONGODB_URL": f"mongodb://127.0.0.1:{MONGO_PORT}/docs_{secrets.token_hex(4)}?replicaSet=rs0",
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "FLASHDROP_DATA_DIR": str(folder / "data"),
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ADMIN_PASSWORD": secrets.token_urlsafe(12),
    }
    shutil.copytree(BASE_DIR / "deploy", folder / "deploy")
    found, started = Site(f"http://127.0.0.1:{port}", folder, dict(os.environ) | own), Processes()
    try:
        assert found.typed("manage.py migrate && manage.py collectstatic --noinput --verbosity 0").returncode == 0
        started.start("serve", "--port", str(port), "--workers", "1", **own)
        started.start("run_worker", **own)
        for first in FIRST:
            done = found.typed(next(one.text for one in COMMANDS if re.match(first, one.text)))
            assert done.returncode == 0, done.stderr
        until(lambda: answers(f"{found.url}/api/products/{SKU}"))
        yield found
    finally:
        started.stop_all()


def tried(*hows: How) -> pytest.MarkDecorator:
    """Each once, however often it is written with other words for the same."""
    found = list({filled(one.text): one for one in reversed(COMMANDS) if one.how in hows}.values())[::-1]
    return pytest.mark.parametrize("command", found, ids=[one.text for one in found])


def test_of_every_command_it_is_known_how_to_try_it() -> None:
    """A new one fails here until docs_commands.py says how, and what stands there is really somewhere in the docs."""
    assert [one for one in COMMANDS if one.how is None] == []
    assert [kind for kind, _ in KINDS if not any(re.match(kind, one.text) for one in COMMANDS)] == []
    assert len([one for one in COMMANDS if one.how not in (How.ONLY_CHECKED, How.NAMED)]) > 80


def test_a_new_command_would_be_found() -> None:
    blocks = "```sh\nflashdropctl drop --all   # everything\n```\n1. So:\n   ```\n   rm x\n   ```\n"
    page = f"Do `tail -f log`.\n\n{blocks}and `a b`"
    found = [(Command(text, "").how, text, line) for text, line in typed_in(page)]
    assert found == [(None, "flashdropctl drop --all", 4), (None, "rm x", 8), (None, "tail -f log", 1)]


@tried(How.RUN)
def test_a_command_runs_as_written(site: Site, command: Command) -> None:
    # As SECURITY.md says beside it.
    environment = {"HTTPS_ONLY": "true", "TRUSTED_PROXY_COUNT": "1"} if "--deploy" in command.text else {}
    done = site.typed(filled(command.text, site.url), **environment)
    allowed = (0, 1) if re.match(MAY_REFUSE, command.text) else (0,)
    assert done.returncode in allowed and "Traceback" not in done.stderr, f"{command}\n{done.stdout}\n{done.stderr}"
    if "--json" in command.text:
        assert json.loads(done.stdout)
    if command.text.startswith("curl"):
        assert '"ready"' in done.stdout, done.stdout


def test_with_the_path_that_is_told_every_program_is_found(site: Site) -> None:
    """From a terminal that knows nothing else."""
    (told,) = (one.text for one in COMMANDS if one.text.startswith("export PATH="))
    text = f"cd {BASE_DIR} && {told} && manage.py version && python -c 'import django' && k6 version"
    done = site.typed(text, PATH="/usr/bin:/bin")
    assert done.returncode == 0, done.stderr


@tried(How.STARTED)
def test_a_process_starts_as_written(site: Site, command: Command) -> None:
    ports = {"8000": str(free_port()), "9101": str(free_port())}
    text = re.sub(r"\b(8000|9101)\b", lambda found: ports[found[1]], command.text)
    environment = site.environment | {"PORT": ports["8000"], "WORKER_METRICS_PORT": ports["9101"]}
    process = subprocess.Popen(["bash", "-c", f"exec env {text}"], cwd=site.folder, env=environment)
    try:
        page = f"{ports['8000']}/healthz" if "serve" in text else f"{ports['9101']}/metrics"
        until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{page}"))
        assert process.poll() is None, command
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0, command
    finally:
        process.kill()


@tried(How.PARSED)
def test_a_commands_own_parser_takes_its_arguments(site: Site, command: Command) -> None:
    text = re.sub(r"\.\.\.|[][]", "", filled(command.text))
    text = re.sub(r"(?<=[ :])[A-Z]+\b", "1", text)
    parses(site, text)


@tried(How.DRY)
def test_a_target_is_there_and_takes_what_it_is_given(site: Site, command: Command) -> None:
    text = command.text.replace("...", "1").replace("…", "1")
    done = subprocess.run(
        ["bash", "-c", f"make --dry-run --no-print-directory {text.removeprefix('make')}"], cwd=BASE_DIR,
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    scenario = re.match(r"make stress-(\S+)", text)
    assert scenario is None or scenario[1] in ("all", *SCENARIOS), command
    profile = re.search(r"PROFILE=(\S+)", text)
    assert profile is None or profile[1] in PROFILES, command
    for line in done.stdout.splitlines():
        if "python -m flashdrop." in line and "--" in line:
            parses(site, line.strip().removeprefix(f"{shlex.quote('.venv')}/bin/"))
    unknown = set(re.findall(r"([A-Z_]+)=", re.sub(r'"[^"]*"', "", text))) - exported()
    assert not unknown, f"{command}: the Makefile passes on no {unknown}"


@cache
def exported() -> set[str]:
    """What the Makefile hands to what it starts."""
    text = (BASE_DIR / "Makefile").read_text()
    return {"ARGS", "PORT", "PYTHON", *re.findall(r"[A-Z_]+", " ".join(re.findall(r"^export (.*)$", text, re.M)))}


def parses(site: Site, text: str) -> None:
    """A program judges what stands before `--help`, and then does nothing."""
    module = re.search(r"python -m ([\w.]+)(.*)", text)
    if module and "argparse" not in source_of(module[1]):
        assert not module[2].strip(), f"{text}: it takes no arguments"
        assert '__name__ == "__main__"' in source_of(module[1])
        return
    done = site.typed(f"cd {BASE_DIR} && {text} --help")
    assert done.returncode == 0 and "usage:" in done.stdout, f"{text}\n{done.stderr}"


@cache
def source_of(module: str) -> str:
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None, module
    path = Path(found.origin)
    return (path.with_name("__main__.py") if path.name == "__init__.py" else path).read_text(encoding="utf-8")


@tried(How.INSPECTED)
def test_k6_can_read_what_it_is_given(command: Command) -> None:
    k6 = Path(sys.executable).with_name("k6")
    text = command.text.replace("k6 run", f"{k6} inspect").replace("API_URL=...", "API_URL=http://127.0.0.1:1")
    done = subprocess.run(["bash", "-c", text], cwd=BASE_DIR, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@tried(How.ONLY_CHECKED)
def test_what_cant_be_run_here_can_be_read_and_names_what_is_there(command: Command) -> None:
    done = subprocess.run(["bash", "-n", "-c", command.text], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    for path in named_files(command.text):
        is_theirs = path.startswith("deploy/secrets")  # made by run-production.sh
        assert is_theirs or any(list((BASE_DIR / folder).glob(path)) for folder in FOLDERS), f"{command}: no {path}"
    script = re.search(r"(?:\./|deploy/)\S+\.sh", command.text)
    if script:
        (source,) = (BASE_DIR / "deploy").rglob(Path(script[0]).name)
        options = re.findall(r"--[a-z-]+", command.text.split("|")[0])
        assert all(option in source.read_text() for option in options), command
    manifests = "".join(path.read_text() for path in (BASE_DIR / "deploy/kubernetes").rglob("*.yaml"))
    for name in re.findall(r"\b(?:(?:deployment|service|job)/|hpa )(\w+)", command.text):
        assert re.search(rf"^  name: {name}$", manifests, re.M), f"{command}: no {name}"
    for name in re.findall(r"--scale (\w+)=|flashdrop_(\w+)=", command.text):
        services = (BASE_DIR / "deploy/compose.prod.yml").read_text()
        assert re.search(rf"^  {''.join(name)}:", services, re.M), f"{command}: no service {name}"
    inner = re.search(r"-- python (manage\.py .*)", command.text)
    assert inner is None or any(one.text.startswith(inner[1].split(" --")[0]) for one in COMMANDS), command
