"""From the back office to the ledger: several at once, stores that are slow, and processes that die in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client

from flashdrop import loops
from flashdrop.redis_client import redis
from sales import backoffice, catalogue, publishing, stock
from sales.admin import SaleAdmin
from sales.desk import copying
from sales.gate import Wish
from sales.models import Sale, new_sale_id
from sales.tests.desk import ADD, account, changed, created, form, page_of, post, seen_now

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


@pytest.fixture
def merchandiser(transactional_db: None) -> Client:
    return account("merchandiser")


def sale_of(**changes: Any) -> Sale:
    now = datetime.now(UTC).replace(microsecond=0)
    values: dict[str, Any] = {
        "id": new_sale_id(), "sku": f"b-{new_sale_id()}", "name": "Lamp", "price_minor": 12900, "stock": 10,
        "opens_at": now - HOUR, "closes_at": now + HOUR, "published": True,
    }  # fmt: skip
    return Sale(**values | changes)


@contextmanager
def before_publishing(step: Any) -> Iterator[None]:
    """Do `step` once, after a publisher has read the row and before it writes to the ledger."""
    real, done = publishing.publish, threading.Event()

    async def publish(*args: Any, **options: Any) -> Any:
        if not done.is_set():
            done.set()
            await asyncio.to_thread(step)
        return await real(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "publish", publish)
        yield


def in_ledger(sale: Sale) -> Any:
    return loops.run(partial(catalogue.get, sale.pk))


def test_what_was_saved_last_is_what_is_published_last(transactional_db: None) -> None:
    sale = sale_of()
    backoffice.save_and_publish(sale)
    sale.name = "Older"
    backoffice.save(sale)

    def colleague() -> None:
        newer = Sale.objects.get(pk=sale.pk)
        newer.name = "Newer"
        backoffice.save_and_publish(newer)
        connection.close()

    with before_publishing(colleague):  # the older one would be written after the newer one
        backoffice.publish_saved(sale.pk)
    assert in_ledger(sale).name == "Newer"
    row = Sale.objects.get(pk=sale.pk)
    assert (row.name, row.needs_publishing, row.version) == ("Newer", False, in_ledger(sale).version)


def test_a_save_that_comes_while_another_is_published_is_published_too(transactional_db: None) -> None:
    sale = sale_of()

    def colleague() -> None:
        newer = Sale.objects.get(pk=sale.pk)
        newer.name = "Newer"
        backoffice.save(newer)  # and dies before it has published
        connection.close()

    with before_publishing(colleague):
        backoffice.save_and_publish(sale)
    assert in_ledger(sale).name == "Newer"
    assert not Sale.objects.get(pk=sale.pk).needs_publishing


def test_a_publisher_that_dies_on_the_way_strands_nothing(transactional_db: None) -> None:
    sale = sale_of()
    backoffice.save(sale)

    def die() -> None:
        raise KeyboardInterrupt

    with before_publishing(die), pytest.raises(KeyboardInterrupt):
        backoffice.publish_saved(sale.pk)
    assert Sale.objects.get(pk=sale.pk).needs_publishing
    assert loops.run(backoffice.publish_outstanding) == 1
    assert in_ledger(sale).name == "Lamp"


def test_many_publishers_at_once_agree_in_the_end(transactional_db: None) -> None:
    sale = sale_of()
    backoffice.save_and_publish(sale)

    def work(n: int) -> None:
        try:
            for round_ in range(4):
                with transaction.atomic():
                    mine = Sale.objects.select_for_update().get(pk=sale.pk)
                    mine.name = f"{n}.{round_}"
                    backoffice.save(mine)
                backoffice.publish_saved(sale.pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    loops.run(backoffice.publish_outstanding)
    row = Sale.objects.get(pk=sale.pk)
    assert not row.needs_publishing
    assert in_ledger(sale).name == row.name


def test_two_who_publish_the_same_save_agree_with_the_ledger_about_its_stock(transactional_db: None) -> None:
    """The first is overtaken between its two stores, and is not told that the stock it asked for was corrected."""
    sale = sale_of(limit_per_shopper=4)
    backoffice.save_and_publish(sale)
    wish = Wish("order", "shopper", 4, False, "context", None, None)
    loops.run(lambda: stock.reserve(redis(), sale.pk, 1, [wish]))
    sale.stock = 2
    backoffice.save(sale)
    real, others = publishing.put_in_force, threading.Event()

    async def put_in_force(*args: Any, **options: Any) -> Any:
        if not others.is_set():
            others.set()
            await asyncio.to_thread(publish_as_another, sale.pk)
        return await real(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "put_in_force", put_in_force)
        backoffice.publish_saved(sale.pk)
    row, there = Sale.objects.get(pk=sale.pk), in_ledger(sale)
    # The one was version 2, the other 3, and 4 corrected it: nobody minds a version more.
    assert (there.version, there.stock) == (4, 4)
    assert (row.version, row.stock, row.needs_publishing) == (4, 4, False)


def publish_as_another(sale_id: str) -> None:
    try:
        backoffice.publish_saved(sale_id)
    finally:
        connection.close()


def test_a_back_office_restored_from_an_older_copy_is_still_obeyed(transactional_db: None) -> None:
    sale = sale_of()
    backoffice.save_and_publish(sale)
    for name in ("One", "Two"):
        sale.name = name
        backoffice.save_and_publish(sale)
    Sale.objects.filter(pk=sale.pk).update(name="Lamp", saved_version=1)
    sale = Sale.objects.get(pk=sale.pk)
    sale.paused = True
    backoffice.save_and_publish(sale)
    assert (in_ledger(sale).name, in_ledger(sale).paused) == ("Lamp", True)
    assert not Sale.objects.get(pk=sale.pk).needs_publishing


async def test_while_the_ledger_is_slow_colleagues_save_at_once(merchandiser: Client) -> None:
    sale = await created(merchandiser)
    other = await created(merchandiser, published=False, opens_at=sale.closes_at, closes_at=sale.closes_at + HOUR)
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow() -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait(60)

    with before_publishing(slow):
        saving = asyncio.create_task(changed(merchandiser, sale, name="Slow"))
        await began.wait()
        assert "was changed successfully" in await changed(account_of(merchandiser), other, name="Quick")
        seen = await Sale.objects.aget(pk=sale.pk)
        assert "was changed successfully" in await changed(account_of(merchandiser), seen, description="Quick")
        assert not saving.done()
        go_on.set()
        assert "was changed successfully" in await saving
    row = await Sale.objects.aget(pk=sale.pk)
    published = await catalogue.get(sale.pk)
    assert published is not None and (row.name, row.description) == ("Slow", "Quick")
    assert (published.name, published.description, row.needs_publishing) == ("Slow", "Quick", False)


def account_of(who: Client) -> Client:
    """The same browser once more: Django's test client does one thing at a time."""
    again = Client()
    again.cookies = who.cookies
    return again


def test_two_who_add_the_same_sku_at_once(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    who, data = account("merchandiser"), form(published=False, name="Mine", description="All that I typed")
    real = SaleAdmin.save_form

    def slower(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(SaleAdmin, "save_form", real)
        sale_of(sku=data["sku"], published=False).save()  # between the other's check and their save
        return real(*args, **options)

    text = who.post(ADD, data).content.decode()
    data["confirmed"] = text.split('name="confirmed" value="')[1].split('"')[0]
    monkeypatch.setattr(SaleAdmin, "save_form", slower)
    answer = who.post(ADD, data)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "Another sale already has this SKU. Choose a different one." in text
    assert 'value="Mine"' in text and "All that I typed" in text
    assert Sale.objects.filter(sku=data["sku"]).count() == 1


async def test_a_sku_that_another_sale_has_is_refused_in_the_form(merchandiser: Client) -> None:
    sale = await created(merchandiser, published=False)
    text = await post(merchandiser, ADD, form(sku=sale.sku, name="Mine"))
    assert "Another sale already has this SKU. Choose a different one." in text
    assert 'value="Mine"' in text
    draft = await created(merchandiser, published=False)
    text = await changed(merchandiser, draft, sku=sale.sku, description="All that I typed")
    assert "Another sale already has this SKU." in text and "All that I typed" in text


def test_a_change_saved_between_the_check_and_the_save_is_not_overwritten(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, sale = account("merchandiser"), sale_of(published=False)
    sale.save()
    data = form(sale, name="Mine", seen=asyncio.run(seen_now(sale)))
    real = backoffice.unchanged

    def slower(*args: Any) -> Any:
        monkeypatch.setattr(backoffice, "unchanged", real)
        colleague = Sale.objects.get(pk=sale.pk)
        colleague.name = "Theirs"
        backoffice.save(colleague)
        return real(*args)

    monkeypatch.setattr(backoffice, "unchanged", slower)
    text = who.post(page_of(sale), data).content.decode()
    assert "changed this sale while you were editing" in text
    assert Sale.objects.get(pk=sale.pk).name == "Theirs"


def test_two_who_duplicate_at_once_get_two_copies(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sale = sale_of(published=False)
    sale.save()
    user: Any = account("merchandiser").session["_auth_user_id"]
    from django.contrib.auth.models import User

    someone, free = User.objects.get(pk=user), copying.free_sku(sale.sku)
    answers = iter([free, free, free])
    monkeypatch.setattr(copying, "free_sku", lambda sku: next(answers, f"{free}-9"))
    copying.copy(sale, someone, datetime.now(UTC))
    assert copying.copy(sale, someone, datetime.now(UTC)).sku == f"{free}-9"
    monkeypatch.setattr(copying, "free_sku", lambda sku: free)
    with pytest.raises(IntegrityError):
        copying.copy(sale, someone, datetime.now(UTC))


async def test_the_ledger_refuses_what_was_saved_earlier(publish: Any) -> None:
    sale = await publish()
    settings = replace(sale_of(id=sale.id, sku=sale.sku).settings(), name="Two")
    assert (await catalogue.save(settings, saved=2)).name == "Two"
    with pytest.raises(catalogue.Overtaken) as refused:
        await catalogue.save(replace(settings, name="One"), saved=1)
    assert refused.value.saved == 2
    assert (await catalogue.save(replace(settings, name="Again"), saved=2)).name == "Again"


def test_a_store_asked_inside_a_transaction_fails_a_test(transactional_db: None) -> None:
    sale = sale_of()
    backoffice.save(sale)
    with pytest.raises(AssertionError, match="inside a transaction"), transaction.atomic():
        backoffice.publish_saved(sale.pk)
