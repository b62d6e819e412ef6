"""The gate against a model of it: random histories, on Valkey 9 and Redis 7, each step predicted in plain Python.

The model is a ledger and a gate in a few dictionaries. A rule does one thing to the real keys through `sales.stock`
and the same to the model; after each rule the real keys must say what the model says, and keep the promises that are
counted from the real keys alone. The canaries run the same machine over scripts that are broken on purpose.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
import redis as sync_redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from conftest import GATES, REDIS_PORT, VALKEY_PORT
from flashdrop import scripts
from sales import stock
from sales.gate import Brake, Held, Load, Publication, Quote, Verdict, Wish
from sales.keys import sale_keys
from sales.published import PublishedSale

PORTS = {name: port for name, port in (("valkey", VALKEY_PORT), ("redis", REDIS_PORT)) if name in GATES}
DATABASE = 8
SALE = "model"
KEYS = sale_keys(SALE)
STEPS = 40
EXAMPLES = 50
CANARY_EXAMPLES = 200
KEPT_COPIES = 3

SHOPPERS = ("ann", "bob", "cyd", "dan")
ORDERS = tuple(f"{shopper}-{number}" for shopper in SHOPPERS for number in range(4))
# The gate's clock is real, so a window is years away from its ends, or over, or far ahead.
WINDOWS = {
    "open": (datetime(2020, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)),
    "ahead": (datetime(2190, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)),
    "over": (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)),
}


def wish_of(
    order_id: str,
    quantity: int = 1,
    is_guest: bool = False,
    shown: tuple[int | None, str | None] = (None, None),
) -> Wish:
    """An order id belongs to one shopper, as `orders.placing` makes it."""
    return Wish(order_id, order_id.partition("-")[0], quantity, is_guest, f"context of {order_id}", *shown)


BATCHES = st.lists(
    st.builds(
        wish_of,
        st.sampled_from(ORDERS),
        st.sampled_from((1, 1, 1, 2, 3)),
        st.sampled_from((False, False, False, True)),
        st.sampled_from(((None, None),) * 9 + ((1, "EUR"), (2, "EUR"), (None, "USD"))),
    ),
    min_size=1,
    max_size=6,
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "stock": st.integers(1, 9),
        "limit_per_shopper": st.integers(1, 4),
        "price_minor": st.integers(0, 3),
        "guests_allowed": st.booleans(),
    },
)
CLOSED = st.sampled_from(({"paused": True}, {"published": False}, {"window": "ahead"}, {"window": "over"}))
BRAKES = ("one", "two", "three")
PULLED_AT = datetime(2026, 1, 1, tzinfo=UTC)
OPEN = {"paused": False, "published": True, "window": "open"}


def changed(sale: PublishedSale, changes: dict[str, Any]) -> PublishedSale:
    values = dict(changes)
    window = values.pop("window", None)
    if window:
        values["opens_at"], values["closes_at"] = WINDOWS[window]
    return replace(sale, **values)


FIRST = changed(
    PublishedSale(
        id=SALE, sku=SALE, name="", description="", image_url="", price_minor=1, currency="EUR", stock=5,
        limit_per_shopper=2, opens_at=datetime.now(UTC), closes_at=datetime.now(UTC), guests_allowed=False,
        paused=False, published=True, version=1, epoch=1, available=5, highest_stock=5, highest_limit=2,
    ),
    {"window": "open"},
)  # fmt: skip


@dataclass
class Taken:
    """One order as the gate has it. `limit` is the one that was in force when it was granted."""

    shopper_id: str
    units: tuple[int, ...]
    slots: tuple[int, ...]
    limit: int
    price_minor: int = 0
    epoch: int = 0
    version: int = 0
    entry_id: str = ""


@dataclass
class Gate:
    """What the keys must say. Without `settings` they are lost; without `epoch` the gate is stopped."""

    settings: PublishedSale | None = None
    epoch: int | None = None
    floor: int = 0
    stock: int = 0
    taken: dict[str, Taken] = field(default_factory=dict)
    """By order id, in the order of granting."""
    log: list[str] = field(default_factory=list)
    brake: Brake | None = None

    @property
    def units(self) -> list[int]:
        return [unit for one in self.taken.values() for unit in one.units]

    def held_by(self, shopper_id: str) -> int:
        return sum(len(one.units) for one in self.taken.values() if one.shopper_id == shopper_id)

    def decide(self, wish: Wish, epoch: int) -> Verdict:
        if self.settings is None or self.epoch != epoch:
            return Verdict.NOT_READY
        if wish.order_id in self.taken:
            return Verdict.KNOWN
        sale, now = self.settings, datetime.now(UTC)
        mine = [one for one in self.taken.values() if one.shopper_id == wish.shopper_id]
        slots = [slot for one in mine for slot in one.slots]
        for refuses, verdict in (
            (not sale.published, Verdict.UNPUBLISHED),
            (now < sale.opens_at, Verdict.NOT_STARTED),
            (now >= sale.closes_at, Verdict.ENDED),
            (sale.paused or self.brake is not None, Verdict.PAUSED),
            (wish.is_guest and not sale.guests_allowed, Verdict.GUESTS_REFUSED),
            (len(slots) + wish.quantity > sale.limit_per_shopper, Verdict.LIMIT_EXCEEDED),
            (len(self.units) + wish.quantity > self.stock, Verdict.OUT_OF_STOCK),
            (wish.price_minor not in (None, sale.price_minor), Verdict.PRICE_CHANGED),
            (wish.currency not in (None, sale.currency), Verdict.PRICE_CHANGED),
        ):
            if refuses:
                return verdict
        self.taken[wish.order_id] = Taken(
            wish.shopper_id,
            lowest_free(self.units, wish.quantity),
            lowest_free(slots, wish.quantity),
            sale.limit_per_shopper,
            sale.price_minor,
            epoch,
            sale.version,
        )
        self.log.append(wish.order_id)
        return Verdict.GRANTED

    def release(self, shopper_id: str, order_id: str) -> int:
        if order_id not in self.taken or self.taken[order_id].shopper_id != shopper_id:
            return 0
        if order_id in self.log:
            self.log.remove(order_id)
        return len(self.taken.pop(order_id).units)

    def publish(self, sale: PublishedSale) -> tuple[Publication, int]:
        if self.settings is None or self.epoch != sale.epoch:
            return Publication.NOT_LOADED, 0
        if self.settings.version >= sale.version:
            return Publication.SUPERSEDED, self.stock
        self.settings, self.stock = sale, max(sale.stock, *self.units, 0)
        self.brake = unless_known(self.brake, sale)
        return Publication.APPLIED, self.stock

    def fence(self, epoch: int) -> bool:
        self.floor = max(self.floor, epoch + 1)
        is_stopped = self.epoch is not None and self.epoch <= epoch
        if is_stopped:
            self.epoch = None
        return is_stopped

    def takes(self, epoch: int) -> Load:
        """What becomes of a load under `epoch`."""
        if self.epoch is not None or self.floor > epoch:
            return Load.SUPERSEDED
        return Load.UNSETTLED if self.log else Load.IN_FORCE


def unless_known(brake: Brake | None, sale: PublishedSale) -> Brake | None:
    """What is left of a brake under these settings."""
    return brake if brake is not None and brake.name != sale.knows_brake else None


class Sold(NamedTuple):
    shopper_id: str
    units: tuple[int, ...]
    slots: tuple[int, ...]


@dataclass
class Ledger:
    """What MongoDB would hold: the settings, what was sold, and the ids that were given up."""

    sale: PublishedSale = FIRST
    sold: dict[str, Sold] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    past: list[PublishedSale] = field(default_factory=list)

    def save(self, changes: dict[str, Any]) -> None:
        self.past.append(self.sale)
        sale = changed(self.sale, changes)
        self.sale = replace(
            sale,
            version=sale.version + 1,
            brake=unless_known(sale.brake, sale),
            highest_stock=max(sale.highest_stock, sale.stock),
            highest_limit=max(sale.highest_limit, sale.limit_per_shopper),
        )

    def raise_stock_to(self, units: int) -> None:
        assert units <= self.sale.highest_stock, "the gate invented units"
        if self.sale.stock < units:
            self.save({"stock": units})

    def note(self, brake: Brake) -> None:
        self.sale = replace(self.sale, brake=unless_known(brake, self.sale) or self.sale.brake)

    def give_up(self, order_id: str) -> None:
        self.sold.pop(order_id, None)
        self.given_up.add(order_id)

    def insert(self, order_id: str, one: Taken) -> tuple[bool, bool]:
        """Whether the order stands as the gate has it, and whether a gate that agreed could have made it."""
        if order_id in self.sold:
            is_same = self.sold[order_id].units == one.units
            return is_same, is_same
        if order_id in self.given_up:
            return False, True
        for other in self.sold.values():
            shares_slot = other.shopper_id == one.shopper_id and set(other.slots) & set(one.slots)
            if shares_slot or set(other.units) & set(one.units):
                self.give_up(order_id)
                return False, False
        self.raise_stock_to(max(one.units))
        assert max(one.slots) <= self.sale.highest_limit
        self.sold[order_id] = Sold(one.shopper_id, one.units, one.slots)
        return True, True


def lowest_free(taken: Sequence[int], count: int) -> tuple[int, ...]:
    return tuple([number for number in range(1, len(taken) + count + 1) if number not in taken][:count])


class Seen(NamedTuple):
    """The real keys, read apart from the product's own functions."""

    sale: dict[str, str]
    shoppers: dict[str, list[tuple[str, tuple[int, ...], tuple[int, ...], str]]]
    returned: list[tuple[str, float]]
    log: list[tuple[str, dict[str, str]]]

    @property
    def units(self) -> list[int]:
        return [unit for orders in self.shoppers.values() for _, units, _, _ in orders for unit in units]


def numbers(joined: str) -> tuple[int, ...]:
    return tuple(map(int, joined.split(",")))


def joined(several: Sequence[int]) -> str:
    return ",".join(map(str, several))


class Direct:
    """A client for `sales.stock` that needs no event loop: each call is answered when it is awaited.

    Thousands of steps wait for it. The same commands and scripts, on the same servers.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            return getattr(self._client, name)(*args, **options)

        return call

    def register_script(self, source: str) -> Callable[..., Any]:
        script = self._client.register_script(source)

        async def call(keys: Sequence[str], args: Sequence[str | int | bytes]) -> Any:
            return script(keys=keys, args=args)

        return call


def answer_of(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine over a `Direct` client returns."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits for an event loop")


class GateMachine(RuleBasedStateMachine):
    """One sale's gate. `text` and `bytes` are clients of the server, set by whoever runs it."""

    text: Any
    bytes: Any

    def __init__(self) -> None:
        super().__init__()
        self.client: Any = Direct(self.text)
        self.text.flushdb()
        self.ledger, self.gate = Ledger(), Gate()
        self.copies: list[tuple[list[bytes | None], Gate]] = []

    @property
    def is_open(self) -> bool:
        sale = self.ledger.sale
        return sale.published and not sale.paused and (sale.opens_at, sale.closes_at) == WINDOWS["open"]

    def dumps(self) -> list[bytes | None]:
        with self.bytes.pipeline(transaction=True) as pipe:
            for key in KEYS:
                pipe.dump(key)
            return list(pipe.execute())

    # What happens to a sale

    @initialize(changes=CHANGES)
    def open(self, changes: dict[str, Any]) -> None:
        first = changed(FIRST, changes)
        first = replace(first, highest_stock=first.stock, highest_limit=first.limit_per_shopper)
        self.ledger.sale = first
        self.gate = Gate(first, first.epoch, stock=first.stock)
        assert answer_of(stock.publish(self.client, first, create=True)) == (Publication.APPLIED, first.stock)

    @rule(batch=BATCHES)
    def sell(self, batch: list[Wish]) -> None:
        """The same as `reserve`, so that it comes more often."""
        self.reserve_at(self.ledger.sale.epoch, batch)

    @rule(batch=BATCHES, is_behind=st.booleans())
    def reserve(self, batch: list[Wish], is_behind: bool) -> None:
        """`is_behind`: by a process that has not heard of the newest epoch, and perhaps neither has the gate."""
        self.reserve_at(self.gate.epoch if is_behind and self.gate.epoch else self.ledger.sale.epoch, batch)

    def expect(self, wish: Wish, epoch: int) -> tuple[Verdict, int, int, Quote | None]:
        """The verdict, and the figures that come with it."""
        verdict, sale = self.gate.decide(wish, epoch), self.gate.settings
        if verdict is Verdict.NOT_READY or sale is None:
            return verdict, 0, 0, None
        left = self.gate.stock - len(self.gate.units) if verdict is Verdict.OUT_OF_STOCK else 0
        is_other = verdict is Verdict.PRICE_CHANGED
        quote = Quote(sale.price_minor, sale.currency, sale.version) if is_other else None
        return verdict, self.gate.held_by(wish.shopper_id), left, quote

    def reserve_at(self, epoch: int, batch: list[Wish]) -> None:
        expected = [self.expect(wish, epoch) for wish in batch]
        answers = answer_of(stock.reserve(self.client, SALE, epoch, batch))
        assert [(answer.verdict, answer.held, answer.available, answer.quote) for answer in answers] == expected
        for wish, answer in zip(batch, answers, strict=True):
            if answer.reservation is not None:
                one = self.gate.taken[wish.order_id]
                assert answer.reservation.units == one.units, "not the lowest free units"
                assert answer.reservation.slots == one.slots, "not the lowest free slots"
                one.entry_id = answer.reservation.entry_id
        for wish, answer in zip(batch, answers, strict=True):
            if answer.verdict is Verdict.KNOWN:
                assert answer.entry_id == self.gate.taken[wish.order_id].entry_id

    @precondition(lambda self: self.gate.taken and self.gate.epoch)
    @rule(data=st.data(), quantity=st.integers(1, 3), is_guest=st.booleans())
    def retry(self, data: st.DataObject, quantity: int, is_guest: bool) -> None:
        """Whatever is asked for under a known order id, its own units are the answer, even when the sale is over."""
        order_id = data.draw(st.sampled_from(sorted(self.gate.taken)))
        wish, one = wish_of(order_id), self.gate.taken[order_id]
        purchase = json.dumps([[order_id, wish.shopper_id, quantity, is_guest, "another context", 7, "XXX"]])
        args: list[str | int] = [self.gate.epoch or 0, purchase]
        _, _, answers = answer_of(scripts.run_script(self.client, "reserve", KEYS, args))
        held = self.gate.held_by(wish.shopper_id)
        assert answers == [[Verdict.KNOWN, held, joined(one.units), joined(one.slots), one.entry_id]]

    @precondition(lambda self: self.gate.log)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        self.settle(data.draw(st.lists(st.sampled_from(self.gate.log), min_size=1, unique=True)))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Cancellations, some of them twice or of somebody else's order; the ledger decides first."""
        pair = st.tuples(st.sampled_from(SHOPPERS), st.sampled_from(ORDERS))
        if self.gate.taken:
            mine = [(one.shopper_id, order_id) for order_id, one in sorted(self.gate.taken.items())]
            pair = st.one_of(st.sampled_from(mine), pair)
        pairs = data.draw(st.lists(pair, min_size=1, max_size=4))
        for shopper_id, order_id in pairs:
            if wish_of(order_id).shopper_id == shopper_id and (
                order_id in self.gate.taken or order_id in self.ledger.sold
            ):
                self.ledger.give_up(order_id)
        expected = [self.gate.release(*one) for one in pairs]
        assert answer_of(stock.release(self.client, SALE, pairs)) == expected
        assert answer_of(stock.release(self.client, SALE, pairs)) == [0] * len(pairs)

    @rule(changes=CHANGES)
    def publish(self, changes: dict[str, Any]) -> None:
        self.publish_changes(changes)

    @precondition(lambda self: not self.is_open)
    @rule()
    def open_again(self) -> None:
        self.publish_changes(OPEN)

    @precondition(lambda self: self.is_open)
    @rule(changes=CLOSED)
    def close(self, changes: dict[str, Any]) -> None:
        """Paused, withdrawn, or its window moved."""
        self.publish_changes(changes)

    def publish_changes(self, changes: dict[str, Any]) -> None:
        self.ledger.save(changes)
        self.put_in_force()

    @rule()
    def put_in_force(self) -> None:
        """As `sales.publishing` does, the worker too: a stock below what is held is corrected in the ledger."""
        sale = self.ledger.sale
        expected = self.gate.publish(sale)
        assert answer_of(stock.publish(self.client, sale, create=False)) == expected
        if expected[1] > sale.stock:
            self.ledger.raise_stock_to(expected[1])
            self.put_in_force()

    @rule(
        pulls=st.lists(
            st.tuples(st.sampled_from(BRAKES), st.sampled_from((None, PULLED_AT))), min_size=1, max_size=2, unique=True
        ),
        is_noted=st.booleans(),
        batch=BATCHES,
        meanwhile=st.one_of(st.none(), CHANGES),
        trouble=st.sampled_from(("none", "stop", "lose")),
        resumed=st.sampled_from(("at once", "after the trouble", "after the trouble", "later")),
    )
    def pull_brake(
        self,
        *,
        pulls: list[tuple[str, datetime | None]],
        is_noted: bool,
        batch: list[Wish],
        meanwhile: dict[str, Any] | None,
        trouble: str,
        resumed: str,
    ) -> None:
        """And whatever happens then, it holds until settings that know of it are in force."""
        pulled = [self.pull(*one) for one in pulls][-1]
        if is_noted and pulled is not None:
            self.ledger.note(pulled)
        self.reserve_at(self.ledger.sale.epoch, batch)
        if meanwhile is not None:
            self.publish_changes(meanwhile)  # without knowing of it
        if trouble == "stop":
            self.stop(self.ledger.sale.epoch)
        elif trouble == "lose":
            self.lose()
        if resumed == "at once":
            self.resume()
        if trouble != "none":
            self.rebuild_gate()
        if resumed == "after the trouble":
            self.resume()

    def pull(self, name: str, at: datetime | None) -> Brake | None:
        """Anew, or `at` some time by those who remember it; over a gate that is stopped or gone as well."""
        gate, settings = self.gate, self.gate.settings
        pulled: Brake | None = answer_of(stock.brake(self.client, SALE, name, "somebody", at))
        is_known = settings is not None and settings.knows_brake == name
        if is_known or (gate.brake is not None and (at is not None or gate.brake.name == name)):
            assert pulled == gate.brake
        else:
            assert pulled is not None and (pulled.name, pulled.by) == (name, "somebody")
            assert at is None or pulled.pulled_at == at
            gate.brake = pulled
        return pulled

    @precondition(lambda self: self.gate.brake or self.ledger.sale.brake)
    @rule()
    def resume(self) -> None:
        """Settings are published that know of the brake; a gate that is not loaded hears of them by its rebuild."""
        brake = self.gate.brake or self.ledger.sale.brake
        if brake is not None:
            self.publish_changes({"knows_brake": brake.name})

    @precondition(lambda self: self.ledger.past)
    @rule(data=st.data(), create=st.booleans())
    def publish_late(self, data: st.DataObject, create: bool) -> None:
        """An older version arrives after newer ones."""
        late = data.draw(st.sampled_from(self.ledger.past))
        if data.draw(st.booleans()):
            late = replace(late, epoch=self.ledger.sale.epoch)
        expected = self.gate.publish(late)
        # Creating is for a sale that no gate was ever loaded or stopped for.
        is_new = create and (self.gate.epoch is not None or self.gate.floor > 0)
        assert answer_of(stock.publish(self.client, late, create=is_new)) == expected

    @precondition(lambda self: self.gate.settings)
    @rule()
    def copy_keys(self) -> None:
        self.copies = [*self.copies, (self.dumps(), copy.deepcopy(self.gate))][-KEPT_COPIES:]

    @rule(
        trouble=st.sampled_from(("stop", "stop an older one", "lose", "restore", "restore", "none")),
        copy_number=st.integers(1, KEPT_COPIES),
        meanwhile=st.one_of(st.none(), CHANGES),
        is_noticed=st.sampled_from((True, True, True, False)),
    )
    def crash(self, trouble: str, copy_number: int, meanwhile: dict[str, Any] | None, is_noticed: bool) -> None:
        """Keys lost, or of the past, or a gate stopped; then a rebuild, or it sells on before anybody notices."""
        if trouble.startswith("stop"):
            self.stop(self.ledger.sale.epoch - (trouble != "stop"))
        elif trouble == "lose":
            self.lose()
        elif trouble == "restore" and self.copies:
            dumps, gate = self.copies[-min(copy_number, len(self.copies))]
            self.text.delete(*KEYS)
            for key, dump in zip(KEYS, dumps, strict=True):
                if dump is not None:
                    self.bytes.restore(key, 0, dump)
            self.gate = copy.deepcopy(gate)
        if meanwhile is not None:
            self.publish_changes(meanwhile)
        if is_noticed:
            self.rebuild_gate()

    def stop(self, epoch: int) -> None:
        assert answer_of(stock.fence(self.client, SALE, epoch)) == self.gate.fence(epoch)

    def lose(self) -> None:
        self.text.delete(*KEYS)
        self.gate = Gate()

    @precondition(lambda self: self.gate.epoch != self.ledger.sale.epoch)
    @rule()
    def rebuild(self) -> None:
        self.rebuild_gate()

    def rebuild_gate(self) -> None:
        """As `orders.rebuild` does; another that began earlier comes too late, and so does the first publication."""
        ledger, gate = self.ledger, self.gate
        ledger.sale = replace(ledger.sale, epoch=ledger.sale.epoch + 1)
        older = ledger.sale.epoch - 1
        assert answer_of(stock.fence(self.client, SALE, older)) == gate.fence(older)
        late = replace(ledger.sale, epoch=older)
        assert answer_of(stock.load(self.client, late, [])) is Load.SUPERSEDED
        assert answer_of(stock.publish(self.client, late, create=True)) == (Publication.NOT_LOADED, 0)
        held = [(one.shopper_id, order_id, one.units, one.slots) for order_id, one in ledger.sold.items()]
        if gate.log:
            assert answer_of(stock.load(self.client, ledger.sale, held)) is Load.UNSETTLED
        self.settle(list(gate.log))
        assert answer_of(stock.pending_count(self.client, SALE)) == 0
        held = [(one.shopper_id, order_id, one.units, one.slots) for order_id, one in ledger.sold.items()]
        # Lowered while no gate could say what is held.
        ledger.raise_stock_to(max([unit for _, _, units, _ in held for unit in units], default=0))
        assert answer_of(stock.load(self.client, ledger.sale, reversed(held))) is gate.takes(ledger.sale.epoch)
        assert gate.takes(ledger.sale.epoch) is Load.IN_FORCE
        taken = {
            order_id: Taken(*one, limit=ledger.sale.highest_limit, entry_id=stock.SETTLED_ENTRY)
            for order_id, one in ledger.sold.items()
        }
        epoch, brake = ledger.sale.epoch, unless_known(gate.brake or ledger.sale.brake, ledger.sale)
        self.gate = Gate(ledger.sale, epoch, floor=epoch, stock=ledger.sale.stock, taken=taken, brake=brake)

    @rule(batch=BATCHES, ahead=st.sampled_from((-1, 1, 7)))
    def come_with_a_wrong_epoch(self, batch: list[Wish], ahead: int) -> None:
        """Nothing changes."""
        wrong = (self.gate.epoch or self.ledger.sale.epoch) + ahead
        before = self.dumps()
        sale = replace(self.ledger.sale, epoch=wrong, version=self.ledger.sale.version + 100)
        answers = answer_of(stock.reserve(self.client, SALE, wrong, batch))
        assert {answer.verdict for answer in answers} == {Verdict.NOT_READY}
        assert answer_of(stock.publish(self.client, sale, create=False)) == (Publication.NOT_LOADED, 0)
        if self.gate.takes(wrong) is not Load.IN_FORCE:
            loaded = answer_of(stock.load(self.client, sale, [("ann", "ann-0", (2,), (1,))]))
            assert loaded is self.gate.takes(wrong)
        assert self.dumps() == before
        assert self.text.dbsize() == len([dump for dump in before if dump is not None])

    @rule()
    def look(self) -> None:
        """The product's own readings of the gate."""
        gate = self.gate
        held = answer_of(stock.held(self.client, SALE))
        if gate.epoch is None:
            assert held is None
        else:
            assert held == Held(len(gate.units), sum(len(gate.taken[order_id].units) for order_id in gate.log))
        pending = answer_of(stock.pending(self.client, SALE))
        assert [(one.order_id, one.units, one.slots) for one in pending] == [
            (order_id, gate.taken[order_id].units, gate.taken[order_id].slots) for order_id in gate.log
        ]

    def settle(self, order_ids: list[str]) -> None:
        """As `orders.settlement` does: the ledger decides, the gate is told."""
        ledger, gate = self.ledger, self.gate
        confirmed, refused, stale = [], [], []
        for order_id in order_ids:
            stands, could_be = ledger.insert(order_id, gate.taken[order_id])
            (confirmed if stands else refused).append(order_id)
            if not could_be:
                stale.append(gate.taken[order_id].epoch)
        for epoch in stale:
            assert answer_of(stock.fence(self.client, SALE, epoch)) == gate.fence(epoch)
        pairs = [(gate.taken[order_id].shopper_id, order_id) for order_id in refused]
        expected = [gate.release(*pair) for pair in pairs]
        assert answer_of(stock.release(self.client, SALE, pairs)) == expected
        entries = [gate.taken[order_id].entry_id for order_id in confirmed]
        assert answer_of(stock.confirm(self.client, SALE, entries)) == len(entries)
        assert answer_of(stock.confirm(self.client, SALE, entries)) == 0
        gate.log = [order_id for order_id in gate.log if order_id not in confirmed]

    # What must be true after each of them

    def read(self) -> Seen:
        with self.text.pipeline(transaction=True) as pipe:
            pipe.hgetall(KEYS.sale).hgetall(KEYS.shoppers).zrange(KEYS.returned, 0, -1, withscores=True)
            pipe.xrange(KEYS.pending)
            sale, shoppers, returned, log = pipe.execute()
        records = {}
        for shopper_id, record in shoppers.items():
            parts = [part.split(" ") for part in record.split(";")]
            records[shopper_id] = [
                (order, numbers(units), numbers(slots), entry) for order, units, slots, entry in parts
            ]
        return Seen(sale, records, [tuple(one) for one in returned], log)

    @invariant()
    def keeps_its_promises(self) -> None:
        seen = self.read()
        if self.gate.settings is None:
            left = {"floor": str(self.gate.floor or ""), "brake": str(self.gate.brake or "")}
            assert seen == Seen({name: value for name, value in left.items() if value}, {}, [], [])
            return
        for check in (counts_its_units, keeps_to_the_limit, logs_what_is_pending, agrees_with_the_model):
            check(seen, self.gate)
        sold = [unit for one in self.ledger.sold.values() for unit in one.units]
        assert len(sold) == len(set(sold))
        assert max(sold, default=0) <= self.ledger.sale.highest_stock


def counts_its_units(seen: Seen, gate: Gate) -> None:
    units, in_stock, next_unit = seen.units, int(seen.sale["stock"]), int(seen.sale["next"])
    assert len(units) == len(set(units)), "a unit is held twice"
    assert all(1 <= unit <= in_stock for unit in units), "a unit is beyond the stock, or the stock below a unit held"
    issued = int(seen.sale["issued"])
    assert issued == len(units), "issued is not what is held"
    assert in_stock - issued == len(set(range(1, in_stock + 1)) - set(units)), "available is not what is free"
    assert next_unit > max(units, default=0)
    free = sorted(set(range(1, next_unit)) - set(units))
    assert seen.returned == [(str(unit), float(unit)) for unit in free], "a unit is neither held nor free"


def keeps_to_the_limit(seen: Seen, gate: Gate) -> None:
    for orders in seen.shoppers.values():
        slots = [slot for _, _, some, _ in orders for slot in some]
        assert len(slots) == len(set(slots)) and min(slots) >= 1
        held = 0
        for order_id, units, some, _ in orders:
            assert len(units) == len(some)
            held += len(units)
            assert order_id in gate.taken
            assert held <= gate.taken[order_id].limit, "more than the limit that was in force"


def logs_what_is_pending(seen: Seen, gate: Gate) -> None:
    assert [(entry_id, fields["order"]) for entry_id, fields in seen.log] == [
        (gate.taken[order_id].entry_id, order_id) for order_id in gate.log
    ]
    for _, fields in seen.log:
        one = gate.taken[fields["order"]]
        assert (fields["shopper"], fields["context"]) == (one.shopper_id, f"context of {fields['order']}")
        assert (fields["units"], fields["slots"]) == (joined(one.units), joined(one.slots))
        made_under = (int(fields["price"]), int(fields["epoch"]), int(fields["version"]))
        assert made_under == (one.price_minor, one.epoch, one.version)


def agrees_with_the_model(seen: Seen, gate: Gate) -> None:
    assert gate.settings is not None
    epoch = seen.sale.get("epoch")
    assert (int(epoch) if epoch else None, int(seen.sale["stock"])) == (gate.epoch, gate.stock)
    assert int(seen.sale.get("floor", 0)) == gate.floor
    assert int(seen.sale["version"]) == gate.settings.version
    brakes = (seen.sale.get("brake"), seen.sale.get("knows_brake"))
    assert brakes == (str(gate.brake) if gate.brake else None, gate.settings.knows_brake)
    records = {
        order_id: (shopper_id, units, slots, entry_id)
        for shopper_id, orders in seen.shoppers.items()
        for order_id, units, slots, entry_id in orders
    }
    assert records == {
        order_id: (one.shopper_id, one.units, one.slots, one.entry_id) for order_id, one in gate.taken.items()
    }


def run_machine(port: int, examples: int, *phases: Phase) -> None:
    url = f"redis://127.0.0.1:{port}/{DATABASE}"
    text, as_bytes = sync_redis.Redis.from_url(url, decode_responses=True), sync_redis.Redis.from_url(url)
    machine: Any = type("Machine", (GateMachine,), {"text": text, "bytes": as_bytes})
    with text, as_bytes:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=True,
                database=None,
                report_multiple_bugs=False,
                phases=phases,
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.mark.parametrize("server", PORTS)
def test_the_gate_does_what_its_model_says(server: str) -> None:
    run_machine(PORTS[server], EXAMPLES, Phase.generate, Phase.shrink)


BROKEN = {
    "no limit": ("reserve", "if held + quantity > limit then return {LIMIT_EXCEEDED, held} end", ""),
    "issued is not updated": ("reserve", "issued = issued + quantity", ""),
    "a late unit first": ("reserve", "ZPOPMIN", "ZPOPMAX"),
    "slots in a row": ("reserve", "if not used[slot] then slots[#slots + 1] = slot end", "slots[#slots + 1] = slot"),
    "no order is known": ("reserve", "if id == order then known = {units, slots, entry} end", ""),
    "a guest is somebody": ("reserve", "if guest and sale[7] ~= '1' then return {GUESTS_REFUSED, held} end", ""),
    "everybody is a guest": ("reserve", "if guest and", "if guest ~= nil and"),
    "any price": ("reserve", "if type(price_minor) == 'number' and price_minor ~= price_now then return true end", ""),
    "any currency": ("reserve", "type(currency) == 'string' and currency ~= currency_now", "false"),
    "only the first of a batch": (
        "reserve",
        "answers[i] = decide(unpack(purchase))",
        "answers[i] = answers[1] or decide(unpack(purchase))",
    ),
    "any epoch": ("reserve", "if sale[1] ~= ARGV[1] then", "if not sale[1] then"),
    "always open": ("reserve", "now >= tonumber(sale[5])", "false"),
    "any order of the shopper": ("release", "if id == order then", "if true then"),
    "the log keeps it": ("release", "redis.call('XDEL', KEYS[4], entry)", ""),
    "stock below a unit held": ("publish", "if stock < next_unit - 1 then stock = next_unit - 1 end", ""),
    "an older version": ("publish", "tonumber(sale[2] or 0) >= tonumber(ARGV[3])", "false"),
    "created twice": ("publish", "and not sale[5]", ""),
    "a newer epoch stopped": ("fence", "or tonumber(sale[1]) > tonumber(ARGV[1])", ""),
    "no floor is left": ("fence", "if tonumber(sale[2] or 0) <= tonumber(ARGV[1])", "if false"),
    "a gate that sells is replaced": ("load", "if sale[1] or", "if"),
    "an older rebuild": ("load", "or tonumber(sale[2] or 0) > tonumber(ARGV[1])", ""),
    "the log is dropped": ("load", "redis.call('XLEN', KEYS[4]) > 0", "false"),
    "a brake does not stop": ("reserve", "sale[6] == '1' or sale[14]", "sale[6] == '1'"),
    "any settings let a brake go": ("publish", "string.match(sale[6], '^%S+') == ARGV[14]", "true"),
    "no settings let a brake go": ("publish", "string.match(sale[6], '^%S+') == ARGV[14]", "false"),
    "a brake is pulled anew once it was let go": ("brake", "if sale[2] == ARGV[1] then return sale[1] or '' end", ""),
    "a remembered brake takes another one's place": ("brake", "pulled > 0 or holds == ARGV[1]", "holds == ARGV[1]"),
    "a new pull is taken for the one before": ("brake", "(pulled > 0 or holds == ARGV[1])", "true"),
    "a rebuild lets a brake go": ("load", "sale[3] or ARGV[16]", "ARGV[16]"),
    "a rebuild knows of no noted brake": ("load", "sale[3] or ARGV[16]", "sale[3] or ''"),
    "a rebuild puts back what was let go": ("load", "and string.match(brake, '^%S+') ~= ARGV[15]", ""),
    "gaps are lost": ("load", "for i = 5, 6 do", "for i = 5, 5 do"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_canary_a_broken_script_is_found_out(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proof that the machine looks closely enough."""
    script, right, wrong = BROKEN[what]
    source: Callable[[str], str] = scripts.source
    assert right in source(script)
    monkeypatch.setattr(
        scripts, "source", lambda name: source(name).replace(right, wrong) if name == script else source(name)
    )
    with pytest.raises(AssertionError):
        run_machine(VALKEY_PORT, CANARY_EXAMPLES, Phase.generate)
