"""`manage.py serve` as real processes: workers that die are replaced, SIGTERM drains, metrics add up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import websockets

from conftest import Processes, Publish, client_of, cookie_of, eventually, fetch, follows, settings_of, shopper
from flashdrop.config import BASE_DIR
from flashdrop.embedded.process import free_port
from flashdrop.serve import Address, AddressTaken, check_free, listening_socket, share_metrics
from flashdrop.wire import LINGER_SECONDS
from orders import ledger
from sales import publishing

UP_SECONDS = 30.0
DRAINED_SECONDS = 10.0


def test_with_the_back_offices_database_away_its_pages_say_how_to_stop_a_sale(processes: Processes) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    nobody = f"postgres://nobody:nothing@127.0.0.1:{free_port()}/flashdrop"
    processes.start("serve", "--port", str(port), "--workers", "1", DATABASE_URL=nobody)
    until_healthy(url)
    for path in ("/admin/", "/admin/desk/sales/abc/control/"):
        answer = httpx.get(url + path, cookies={"sessionid": "x" * 32}, verify=False)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (503, "no-store")
        assert "manage.py pause_sale" in answer.text
    assert httpx.get(url + "/", verify=False).status_code in (200, 503)  # the shop does not need it


class Web:
    """One `manage.py serve` with two workers."""

    def __init__(self, processes: Processes) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = processes.start("serve", "--port", str(self.port), "--workers", "2")

    def workers(self) -> list[int]:
        """The pids of its worker processes, the oldest first."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def until_healthy(self) -> None:
        until_healthy(self.url)

    async def until_others_than(self, *gone: int) -> None:
        """Wait for two workers, none of which is one of `gone`."""

        async def replaced() -> bool:
            return len(self.workers()) == 2 and not set(gone) & set(self.workers())

        await eventually(replaced)
        self.until_healthy()


@pytest.fixture(scope="module")
def web(migrated: None, static_files: None) -> Iterator[Web]:
    processes = Processes()
    started = Web(processes)
    try:
        started.until_healthy()
        yield started
    finally:
        processes.stop_all()


def until_healthy(url: str) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while True:
        try:
            if fetch(f"{url}/healthz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"nobody answers at {url}"
        time.sleep(0.05)


def is_answered(url: str, tries: int = 40) -> bool:
    """Whether one of several new connections is answered; those that fall to a worker that stands still are not."""
    for _ in range(tries):
        try:
            return fetch(url, timeout=0.3).status_code == 200
        except httpx.TransportError:
            continue
    return False


def counted(url: str, route: str) -> float:
    """How many requests for one route the metrics count."""
    metrics = fetch(f"{url}/metrics").text
    found = re.findall(rf'^flashdrop_http_requests_total{{.*route="{route}".*}} (\S+)$', metrics, re.MULTILINE)
    return sum(map(float, found))


def manage(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command], cwd=BASE_DIR, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_port_that_is_taken_is_named_with_the_next_step(web: Web) -> None:
    """Taken by another `serve`, whose sockets share their address: ours must not join them."""
    found = manage("serve", "--port", str(web.port))
    assert found.returncode != 0
    assert f"127.0.0.1:{web.port}" in found.stderr
    assert f"PORT={web.port + 1}" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_port_is_free_again_once_its_socket_is_closed() -> None:
    address = Address("127.0.0.1", free_port())
    other = listening_socket(address)
    other.listen()
    with pytest.raises(AddressTaken, match=str(address.port)):
        check_free(address)
    other.close()
    check_free(address)


def test_an_address_is_written_as_urls_write_it() -> None:
    assert str(Address("127.0.0.1", 80)) == "127.0.0.1:80"
    assert str(Address("::1", 80)) == "[::1]:80"


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(AddressTaken, match=r"192\.0\.2\.1"):
        check_free(Address("192.0.2.1", 8000))


def test_no_workers_at_all_is_refused() -> None:
    found = manage("serve", "--port", str(free_port()), "--workers", "0")
    assert found.returncode != 0
    assert "--workers" in found.stderr
    assert "Traceback" not in found.stderr


def test_every_worker_answers(web: Web) -> None:
    """Each in turn, while the other stands still, so that the kernel's choice does not decide what is seen."""
    first, second = web.workers()
    for still in (first, second):
        os.kill(still, signal.SIGSTOP)
        try:
            assert is_answered(f"{web.url}/healthz")
        finally:
            os.kill(still, signal.SIGCONT)


async def test_metrics_add_up_over_the_workers_also_those_that_died(web: Web) -> None:
    sale = (await publishing.publish(settings_of())).sale
    await follows(web.url, sale)
    route, url = "api/products/<sku>/stock", f"{web.url}/api/products/{sale.sku}/stock"
    assert [fetch(url).status_code for _ in range(30)] == [200] * 30

    async def all_are_counted() -> bool:
        """Each worker publishes a few times a second; then, whichever is asked, the answer is the same."""
        return [counted(web.url, route) for _ in range(6)] == [30.0] * 6

    await eventually(all_are_counted, 2)
    before = web.workers()
    os.kill(before[0], signal.SIGKILL)
    await web.until_others_than(before[0])
    assert counted(web.url, route) == 30.0


def test_metrics_begin_at_nothing_with_each_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "metrics"
    kept.mkdir()
    (kept / "counter_1.db").write_bytes(b"of an earlier start")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(kept))
    share_metrics()
    assert list(kept.iterdir()) == []


async def test_a_worker_that_is_killed_is_replaced_and_requests_go_on(web: Web) -> None:
    before = web.workers()
    os.kill(before[0], signal.SIGKILL)
    await web.until_others_than(before[0])
    assert before[1] in web.workers()
    assert [fetch(f"{web.url}/healthz").status_code for _ in range(20)] == [200] * 20


async def test_one_worker_told_to_end_does_not_take_the_others_with_it(web: Web) -> None:
    oldest, youngest = web.workers()
    os.kill(youngest, signal.SIGTERM)
    await web.until_others_than(youngest)
    assert oldest in web.workers()
    assert web.process.poll() is None


async def test_all_workers_killed_at_once_come_back(web: Web) -> None:
    before = web.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await web.until_others_than(*before)


def test_ctrl_c_in_a_terminal_ends_the_whole_group_with_success(processes: Processes, migrated: None) -> None:
    web = Web(processes)
    web.until_healthy()
    workers = web.workers()
    os.killpg(web.process.pid, signal.SIGINT)
    assert web.process.wait(DRAINED_SECONDS) == 0
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


async def test_a_sigterm_while_the_workers_are_starting_ends_them_too(processes: Processes, migrated: None) -> None:
    web = Web(processes)

    async def forked() -> bool:
        return len(web.workers()) == 2

    await eventually(forked)
    web.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(web.process.wait, DRAINED_SECONDS)
    assert code == 0


@dataclass
class Drain:
    """What a SIGTERM came to, with buyers, viewers and half a request under way."""

    sale_id: str
    answers: list[int] = field(default_factory=list)
    slow_answer: bytes = b""
    close_codes: list[int | None] = field(default_factory=list)
    exit_code: int = -1
    seconds: float = 0.0
    workers_left: list[int] = field(default_factory=list)


@pytest.fixture(scope="module")
async def drain(migrated: None, static_files: None, ledger_indexes: None) -> AsyncIterator[Drain]:
    processes = Processes()
    try:
        yield await drained(Web(processes))
    finally:
        processes.stop_all()


async def drained(web: Web) -> Drain:
    """Load `web`, end it with SIGTERM, and note what everybody saw."""
    web.until_healthy()
    sale = (await publishing.publish(settings_of(stock=100_000))).sale
    await follows(web.url, sale)
    found, workers = Drain(sale.id), web.workers()
    address = f"ws://127.0.0.1:{web.port}/ws/sales/{sale.sku}/"
    viewers = [await websockets.connect(address, origin=web.url) for _ in range(6)]  # type: ignore[arg-type]
    for viewer in viewers:
        await asyncio.wait_for(viewer.recv(), 5)

    body = f'{{"sku": "{sale.sku}"}}'.encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    head = (
        f"POST /api/orders HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nCookie: {cookie_of(shopper())['Cookie']}\r\n\r\n"
    )
    writer.write(head.encode() + body[:5])
    await writer.drain()

    async def buy(client: httpx.AsyncClient) -> None:
        # Until nobody listens, or an idle connection is closed just as we use it: that request was not taken on.
        while True:
            try:
                order = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
            except httpx.TransportError:
                return
            found.answers.append(order.status_code)

    async def bought() -> bool:
        return len(found.answers) >= 50

    async with client_of(web.url, timeout=15) as client:
        buyers = [asyncio.create_task(buy(client)) for _ in range(10)]
        await eventually(bought)
        started = time.monotonic()
        web.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        writer.write(body[5:])
        found.slow_answer = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        found.exit_code = await asyncio.to_thread(web.process.wait, DRAINED_SECONDS + 5)
        found.seconds = time.monotonic() - started
        await asyncio.gather(*buyers)
    for viewer in viewers:
        await asyncio.wait_for(viewer.wait_closed(), 5)
    found.close_codes = [viewer.close_code for viewer in viewers]
    found.workers_left = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    return found


def test_sigterm_ends_the_shop_in_time_and_with_success(drain: Drain) -> None:
    assert drain.exit_code == 0
    assert drain.seconds < DRAINED_SECONDS
    assert drain.workers_left == []


def test_without_a_proxy_idle_connections_are_not_waited_for(drain: Drain) -> None:
    assert drain.seconds < LINGER_SECONDS


def test_sigterm_lets_half_a_request_finish(drain: Drain) -> None:
    assert drain.slow_answer.startswith(b"HTTP/1.1 201")


async def test_every_order_made_while_draining_was_answered(drain: Drain) -> None:
    assert set(drain.answers) == {201}
    assert (await ledger.tally(drain.sale_id)).orders == len(drain.answers) + 1  # and the slow one


def test_sigterm_sends_viewers_away_with_service_restart(drain: Drain) -> None:
    assert drain.close_codes == [1012] * 6


@dataclass
class LastWords:
    """What two connections that a proxy keeps hear from a shop that was told to end."""

    before: bytes = b""
    page: bytes = b""
    order: bytes = b""
    cut_after: float = 0.0


async def last_words(web: Web) -> LastWords:
    """Ask on kept connections after SIGTERM: a page from memory on one, an order on another; a third stays idle."""
    found = LastWords()
    sale = (await publishing.publish(settings_of())).sale
    await follows(web.url, sale)
    kept = [await asyncio.open_connection("127.0.0.1", web.port) for _ in range(3)]
    host = f"Host: 127.0.0.1:{web.port}\r\n"
    status = f"GET /api/products/{sale.sku}/sale-status HTTP/1.1\r\n{host}\r\n".encode()
    for reader, writer in kept:
        writer.write(status)
        found.before = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(found.before.partition(b"content-length: ")[2].split()[0]))
    web.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    await asyncio.sleep(1)
    body = f'{{"sku": "{sale.sku}"}}'
    head = f"POST /api/orders HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    kept[0][1].write(status)
    kept[1][1].write(f"{head}Cookie: {cookie_of(shopper())['Cookie']}\r\n\r\n{body}".encode())
    for (reader, _), name in zip(kept, ("page", "order"), strict=False):
        with contextlib.suppress(ConnectionError):
            setattr(found, name, await asyncio.wait_for(reader.read(), 5))
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(kept[2][0].read(), DRAINED_SECONDS)
    found.cut_after = time.monotonic() - started
    assert await asyncio.to_thread(web.process.wait, DRAINED_SECONDS) == 0
    for _, writer in kept:
        writer.close()
    return found


async def test_behind_a_proxy_kept_connections_are_good_for_one_more_request(
    processes: Processes, migrated: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUSTED_PROXY_COUNT", "1")
    web = Web(processes)
    web.until_healthy()
    found = await last_words(web)
    assert b"connection: close" not in found.before
    assert found.page.split(b"\r\n")[0] == b"HTTP/1.1 200 OK" and b"connection: close" in found.page.lower()
    assert found.order.split(b"\r\n")[0] == b"HTTP/1.1 201 Created" and b"connection: close" in found.order.lower()
    assert LINGER_SECONDS - 1 < found.cut_after < LINGER_SECONDS + 2


@pytest.fixture
def daphne(migrated: None) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "daphne", "-p", str(port), "flashdrop.asgi:application"]
    process = subprocess.Popen(command, cwd=BASE_DIR, stderr=subprocess.DEVNULL)
    try:
        until_healthy(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def test_daphne_serves_the_same_application(daphne: str, publish: Publish) -> None:
    sale = await publish(name="A lamp by Daphne", stock=3)
    await follows(daphne, sale)
    address = f"{daphne.replace('http', 'ws')}/ws/sales/{sale.sku}/"
    async with (
        client_of(daphne) as client,
        websockets.connect(address, origin=daphne) as viewer,  # type: ignore[arg-type]
    ):
        page = await client.get(f"/sales/{sale.sku}/")
        assert (page.status_code, "A lamp by Daphne" in page.text) == (200, True)
        assert 'data-available="3"' in str(await asyncio.wait_for(viewer.recv(), 5))
        order = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
        assert (order.status_code, order.json()["data"]["units"]) == (201, [1])
        assert 'data-available="2"' in str(await asyncio.wait_for(viewer.recv(), 5))
        status = await client.get(f"/api/products/{sale.sku}/sale-status")
        assert status.json()["data"]["availableStock"] == 2
