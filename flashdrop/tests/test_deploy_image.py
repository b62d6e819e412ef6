"""What the image is made of, put together without Docker by the same lines, is enough to run the shop and no more."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flashdrop.config import BASE_DIR
from flashdrop.embedded.process import free_port

DOCKERFILE = (BASE_DIR / "deploy/Dockerfile").read_text()
IGNORED = (BASE_DIR / "deploy/Dockerfile.dockerignore").read_text()
WALKED = ("deploy", "docs", "flashdrop", "k6", "lua", "orders", "sales", "static", "templates")


def pattern(line: str) -> re.Pattern[str]:
    """A line of .dockerignore: it is about a path, and about everything below it."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    text = re.sub(r"\*\*/|\*\*|\*|\?|[^*?]+", lambda found: parts.get(found[0], re.escape(found[0])), line)
    return re.compile(rf"{text}(?:/.*)?\Z")


RULES = [
    (not line.startswith("!"), pattern(line.removeprefix("!")))
    for line in IGNORED.splitlines()
    if line and not line.startswith("#")
]


def is_sent(path: str) -> bool:
    """Whether Docker is given the file; the last line that is about it decides."""
    return not next((ignored for ignored, rule in reversed(RULES) if rule.match(path)), False)


def checkout() -> list[str]:
    """Every file of this checkout that somebody wrote, and what tools leave among them."""
    files = [path for path in BASE_DIR.iterdir() if path.is_file()]
    files += [path for folder in WALKED for path in (BASE_DIR / folder).rglob("*") if path.is_file()]
    return [path.relative_to(BASE_DIR).as_posix() for path in files]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder /srv/flashdrop of the image: the Dockerfile's COPY lines, of what is sent."""
    root = tmp_path_factory.mktemp("image")
    build, _, _ = DOCKERFILE.partition("\nFROM ${PYTHON_IMAGE} AS app")
    copied = re.findall(r"^COPY (\S+) (\S+)$", build, re.M)
    assert len(copied) > 5
    for path in filter(is_sent, checkout()):
        for source, target in copied:
            if path == source or path.startswith(f"{source}/"):
                # `./` is the working folder: the file lands in it by its own name.
                to = root / Path(path).name if target == "./" else root / target / path[len(source) + 1 :]
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(BASE_DIR / path, to)
    # As at the build: nothing but a key that is thrown away.
    manage(root, "collectstatic", "--noinput", "--verbosity", "0", SECRET_KEY="build-only")
    return root


def environment_of(root: Path, **variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "FLASHDROP_DATA_DIR": str(root / "data"), "PYTHONDONTWRITEBYTECODE": "1"} | (
        variables
    )


def manage(root: Path, *command: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=root,
        env=environment_of(root, **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_rules_say_what_docker_would() -> None:
    assert is_sent("manage.py") and is_sent("static/css/base.css") and is_sent("deploy/nginx/errors/x.html")
    for kept_out in (
        *(
            "README.md",
            ".env",
            ".git/config",
            ".venv/bin/python",
            "conftest.py",
            "docs/how-to/deploy.md",
            "k6/mixed.js",
        ),
        *("deploy/secrets/secret_key", "deploy/stack.yml", "flashdrop/tests/test_serve.py", "flashdrop/bench/wrk.py"),
        *("sales/__pycache__/api.cpython-311.pyc", "flashdrop/embedded/mongo_server.py", "orders/db.sqlite3"),
    ):
        assert not is_sent(kept_out), kept_out


def test_neither_tests_nor_tools_nor_secrets_are_in_the_image(image: Path) -> None:
    found = {path.relative_to(image).as_posix() for path in image.rglob("*") if path.is_file()}
    assert {"manage.py", "healthcheck.py", "flashdrop/settings.py", "lua/reserve.lua", "templates/base.html"} <= found
    assert {"sales/migrations/0001_initial.py", "orders/management/commands/run_worker.py"} <= found
    assert any(re.fullmatch(r"data/static/css/base\.[0-9a-f]{12}\.css\.gz", path) for path in found)
    unwanted = re.compile(r"(^|/)(tests?|docs|bench|faults|stress|embedded|secrets|\.env|\.git)(/|$)|\.pyc$|conftest")
    kept = {"docs/reference/benchmarks.json", "docs/reference/benchmarks.md"}  # the desk reads them
    assert [path for path in found - kept if unwanted.search(path.removeprefix("data/static/"))] == []
    assert kept <= found


def test_every_command_of_the_image_finds_what_it_imports(image: Path) -> None:
    # `manage.py check` and the loading of each command, in one process.
    code = (
        "import django; django.setup()\n"
        "from django.core import management as m\n"
        "m.call_command('check')\n"
        "ours = {n: a for n, a in m.get_commands().items() if a in ('flashdrop', 'sales', 'orders')}\n"
        "print(*[m.load_command_class(a, n) and n for n, a in ours.items()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=image,
        env=environment_of(image, SECRET_KEY="x", DJANGO_SETTINGS_MODULE="flashdrop.settings"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    named = {"serve", "run_worker", "initiate_mongodb", "ensure_indexes", "ensure_admin", "seed_demo", "audit_sale"}
    assert named <= set(done.stdout.split())


def test_the_image_serves_is_found_healthy_and_drains(image: Path) -> None:
    port = str(free_port())
    environment = environment_of(
        image,
        SECRET_KEY="x",
        PORT=port,
        # The first name is the one that the check asks by.
        ALLOWED_HOSTS=".shop.example,other.example",
        WEB_WORKERS="1",
        LOG_FORMAT="json",
        REDIS_URL=os.environ["REDIS_URL"],
        MONGODB_URL=os.environ["MONGODB_URL"],
    )
    assert 'ENTRYPOINT ["python", "manage.py"]\nCMD ["serve"]' in DOCKERFILE
    web = subprocess.Popen([sys.executable, "manage.py", "serve"], cwd=image, env=environment)

    def health(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "healthcheck.py", *arguments]
        return subprocess.run(command, cwd=image, env=environment, capture_output=True, text=True, check=False)

    try:
        deadline = time.monotonic() + 30
        while health().returncode != 0:
            assert time.monotonic() < deadline, health().stderr
            time.sleep(0.1)
        assert "answers 404" in health(port, "/nowhere").stderr
        web.terminate()
        assert web.wait(20) == 0
        assert health().returncode == 1
        assert f"nothing answers at port {port}" in health().stderr
    finally:
        web.kill()
        web.wait()
