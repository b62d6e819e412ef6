"""`make run`, without the make: from an empty folder to a working shop, stopped, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import NO_TLS, fetch
from flashdrop import running as running_parts
from flashdrop.config import BASE_DIR
from flashdrop.embedded.process import free_port
from flashdrop.tests.waiting import answers, until

UP_SECONDS = 60.0
STOPPED_SECONDS = 30.0
SET_BY_THE_RUN = ("REDIS_URL", "MONGODB_URL", "SECRET_KEY", "DATABASE_URL")


@dataclass
class Run:
    """One `python -m flashdrop.run` and what it printed."""

    folder: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flashdrop.run"],
                cwd=BASE_DIR,
                env=environment(self.folder, PORT=str(self.port), DEMO_OPENS_IN_SECONDS="2", WEB_WORKERS="1"),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self.log.read_text()

    def family(self) -> set[int]:
        """Every process that it started, and those they started."""
        found, waiting = set(), [self.process.pid]
        while waiting:
            for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
                children = {int(pid) for pid in task.read_text().split()} - found
                found |= children
                waiting += children
        return found

    def phases_until_active(self) -> list[str]:
        """The demo sale's phases as they are first seen, and the shop printing that it is up."""
        seen: list[str] = []
        deadline = time.monotonic() + UP_SECONDS
        while "active" not in seen or "Ctrl-C stops everything" not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            try:
                answer = fetch(f"{self.url}/api/products/demo/sale-status", timeout=2)
                if answer.status_code == 200 and answer.json()["data"]["phase"] not in seen:
                    seen.append(answer.json()["data"]["phase"])
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        return seen

    def end(self, number: signal.Signals) -> int | None:
        """Send the signal; the exit code, or None when it does not end in time."""
        self.process.send_signal(number)
        try:
            return self.process.wait(STOPPED_SECONDS)
        except subprocess.TimeoutExpired:
            return None


@dataclass
class Story:
    """What was seen in two runs over one folder: the first ended by Ctrl-C, the second by closing the terminal."""

    phases: list[str] = field(default_factory=list)
    ready: int = 0
    output: str = ""
    order: dict[str, Any] = field(default_factory=dict)
    admin_redirect: str = ""
    audit: subprocess.CompletedProcess[str] | None = None
    exit_code: int | None = None
    left: list[str] = field(default_factory=list)
    output_again: str = ""
    orders_again: list[dict[str, Any]] = field(default_factory=list)
    sold_out_again: int = 0
    left_again: list[str] = field(default_factory=list)


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """What a fresh checkout has: no address of any store."""
    kept = {name: value for name, value in os.environ.items() if name not in SET_BY_THE_RUN}
    return kept | {"FLASHDROP_DATA_DIR": str(folder)} | changes


def still_there(pids: set[int]) -> list[str]:
    """The command lines of those that run on; one that ended and is not yet collected does not."""
    found = []
    for pid in pids:
        try:
            state = re.sub(r".*\) ", "", Path(f"/proc/{pid}/stat").read_text())[0]
            if state != "Z":
                found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except FileNotFoundError:
            continue
    return found


def listened_at(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def store_ports(folder: Path) -> list[int]:
    return [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", (folder / "shop.env").read_text())]


def kill(pids: set[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture(scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """In a thread, so that this process's own clients of the stores go on hearing from them meanwhile."""
    return await asyncio.to_thread(run_twice, tmp_path_factory.mktemp("run"))


def run_twice(home: Path) -> Story:
    story, started = Story(), set[int]()
    first = Run(home / "data", free_port(), home / "first.log")
    started.add(first.process.pid)
    try:
        story.phases = first.phases_until_active()
        started |= (family := first.family())
        story.ready = fetch(f"{first.url}/readyz", timeout=5).status_code
        story.output = first.output
        with httpx.Client(verify=NO_TLS, base_url=first.url, timeout=10) as client:
            client.post("/api/auth/login", json={"identifier": "Ada"}).raise_for_status()
            cookies = dict(client.cookies)
            story.order = client.post("/api/orders", json={"sku": "demo"}).raise_for_status().json()["data"]
            story.admin_redirect = sign_in_to_admin(client, story.output)
        story.audit = subprocess.run(
            ["/bin/sh", "-c", printed_command(story.output)],
            cwd=home,
            env={"PATH": "/usr/bin:/bin"},  # a terminal of somebody who has never heard of virtual environments
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        story.exit_code = first.end(signal.SIGINT)
        story.left = still_there(family)
        story.left += [f"port {port}" for port in [first.port, *store_ports(first.folder)] if listened_at(port)]
        kill(family)

        second = Run(first.folder, free_port(), home / "second.log")
        started.add(second.process.pid)
        second.phases_until_active()
        started |= (family := second.family())
        story.output_again = second.output
        with httpx.Client(verify=NO_TLS, base_url=second.url, cookies=cookies, timeout=10) as client:
            story.orders_again = client.get("/api/orders").raise_for_status().json()["data"]
            story.sold_out_again = client.post("/api/orders", json={"sku": "demo"}).status_code
        second.end(signal.SIGHUP)
        time.sleep(1)
        story.left_again = still_there(family)
        return story
    finally:
        kill(started)


def sign_in_to_admin(client: httpx.Client, output: str) -> str:
    """Where the admin sends whoever signs in with the printed password."""
    user, password = re.search(r"user (\S+), password (\S+)", output).groups()  # type: ignore[union-attr]
    form = client.get("/admin/login/").text
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)[1]  # type: ignore[index]
    answer = client.post(
        "/admin/login/",
        data={"username": user, "password": password, "csrfmiddlewaretoken": token, "next": "/admin/sales/sale/"},
    )
    return str(answer.headers.get("Location"))


def printed_command(output: str) -> str:
    return re.search(r"Audit   (.+)", output)[1]  # type: ignore[index]


def password_in(output: str) -> str:
    return re.search(r"password (\S+)", output)[1]  # type: ignore[index]


def test_an_empty_folder_becomes_a_ready_shop(story: Story) -> None:
    assert story.ready == 200


def test_it_says_where_the_shop_is(story: Story) -> None:
    assert re.search(r"http://127\.0\.0\.1:\d+/\s", story.output)


def test_the_printed_password_opens_the_admin(story: Story) -> None:
    assert story.admin_redirect == "/admin/sales/sale/"


def test_the_demo_sale_opens_by_itself(story: Story) -> None:
    assert [phase for phase in story.phases if phase != "not_ready"] == ["upcoming", "active"]


def test_an_order_can_be_bought(story: Story) -> None:
    assert (story.order["status"], story.order["units"]) == ("completed", [1])


def test_the_printed_command_finds_the_same_stores(story: Story) -> None:
    assert story.audit is not None
    assert story.audit.returncode == 0, story.audit.stdout + story.audit.stderr
    assert "confirmed 1 of 100" in story.audit.stdout


def test_ctrl_c_stops_everything_with_success(story: Story) -> None:
    assert story.exit_code == 0
    assert story.left == []


def test_running_again_keeps_orders_shoppers_and_password(story: Story) -> None:
    assert [order["_id"] for order in story.orders_again] == [story.order["_id"]]
    assert story.sold_out_again == 403  # one per shopper, and this one has bought
    assert password_in(story.output_again) == password_in(story.output)


def test_a_closed_terminal_stops_everything_too(story: Story) -> None:
    assert story.left_again == []


async def test_what_ends_by_itself_is_told_and_begun_again_or_all_is_stopped(tmp_path: Path) -> None:
    """A worker and the web server come back; without a store nothing goes on."""
    await asyncio.to_thread(end_one_after_the_other, Run(tmp_path / "data", free_port(), tmp_path / "log"))


def end_one_after_the_other(run: Run) -> None:
    started = {run.process.pid}
    try:
        run.phases_until_active()
        started |= run.family()
        killed_and_begun_again(run, "The worker", "manage.py run_worker")
        started |= run.family()
        killed_and_begun_again(run, "The web server", "manage.py serve")
        started |= run.family()
        (store,) = running(run, "redis-server") or running(run, "valkey-server")
        os.kill(store, signal.SIGKILL)
        assert run.process.wait(STOPPED_SECONDS) == 1
        assert re.search(rf"\(process {store}\) was killed by SIGKILL\. Its last words:", run.output)
        assert "The shop can't go on without it: everything is stopped." in run.output
        assert still_there(started) == []
    finally:
        kill(started)


def killed_and_begun_again(run: Run, name: str, command: str) -> None:
    before = set(running(run, command))
    pid = min(before)  # the first of them is the parent
    os.kill(pid, signal.SIGKILL)
    said = (
        rf"{name} \(process {pid}\) was killed by SIGKILL\. Its last words:\n    \S(.|\n)*It is started again in 1 s\."
    )
    for holds in (
        lambda: re.search(said, run.output),
        lambda: set(running(run, command)) - before,
        lambda: answers(f"{run.url}/readyz"),
    ):
        until(holds, UP_SECONDS, lambda: run.output)


def running(run: Run, command: str) -> list[int]:
    """Those of its processes whose command line has `command` in it."""
    found = []
    for pid in run.family():
        with contextlib.suppress(OSError):
            if command in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                found.append(pid)
    return found


def test_a_part_that_keeps_ending_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(running_parts.time, "monotonic", lambda: clock[0])
    part = running_parts.Part("It", [sys.executable, "-c", "print('so long'); raise SystemExit(3)"], {})
    part.process.wait()
    assert re.fullmatch(
        r"\nIt \(process \d+\) ended by itself with exit code 3\. Its last words:\n    so long", part.obituary()
    )
    pauses = [part.pause_before_again() for _ in range(running_parts.MOST_ENDS + 1)]
    assert pauses == [1, 2, 4, 8, running_parts.LONGEST_PAUSE, None]
    clock[0] = running_parts.WITHIN_SECONDS + 1
    assert part.pause_before_again() == 1


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = Run(tmp_path / "data", taken.getsockname()[1], tmp_path / "log")
        code = run.process.wait(STOPPED_SECONDS)
    assert code == 1
    assert f"127.0.0.1:{run.port}" in run.output
    assert "PORT=" in run.output
    assert "Traceback" not in run.output
    assert not (tmp_path / "data" / "shop.env").exists()


def test_a_port_that_is_no_number_is_named(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "flashdrop.run"],
        cwd=BASE_DIR,
        env=environment(tmp_path, PORT="eighty"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert found.returncode != 0
    assert "PORT" in found.stderr
    assert "Traceback" not in found.stderr
