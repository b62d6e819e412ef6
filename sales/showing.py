"""One sale as the board shows it: a moment's state, and everything rendered from it, each at most once."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from django.utils import translation
from django.utils.functional import cached_property
from django.utils.translation import gettext, ngettext

from flashdrop import languages
from flashdrop.envelope import encode, iso_utc, timestamp_tail
from flashdrop.prepared import Prepared
from sales.gate import Levels
from sales.money import format_minor
from sales.published import PublishedSale

HTML = "text/html; charset=utf-8"
JSON = "application/json"
# Clients may keep a copy but ask each time: the answer is a 304 as long as nothing changed.
REVALIDATE = "no-cache"
# How old the time of day in a status answer may be.
STATUS_FRESH_MS = 50
LOW_STOCK_SHARE = 0.1


class Phase(StrEnum):
    """What a shopper can do now. Judged in the same order as `lua/reserve.lua` does."""

    UPCOMING = "upcoming"
    ACTIVE = "active"
    PAUSED = "paused"
    SOLD_OUT = "sold_out"
    ENDED = "ended"
    NOT_READY = "not_ready"


def phase_at(sale: PublishedSale, levels: Levels | None, now: datetime) -> Phase:
    """The phase of `sale` at `now`, by the gate's clock. A gate that is silent or not loaded makes it NOT_READY; an
    archived sale has none any more.

    Whether it is paused is the gate's to say: settings that have not reached it stop nobody.
    """
    if sale.archived_at is not None:
        return Phase.ENDED
    if levels is None or not levels.loaded or not levels.published or levels.epoch != sale.epoch:
        return Phase.NOT_READY
    return _phase_within(sale.opens_at, sale.closes_at, levels, now)


def phase_at_gate(levels: Levels, now: datetime) -> Phase | None:
    """The phase by what the gate has alone; None for a sale that it doesn't sell because it is withdrawn."""
    if not levels.loaded or levels.opens_at is None or levels.closes_at is None:
        return Phase.NOT_READY
    return _phase_within(levels.opens_at, levels.closes_at, levels, now) if levels.published else None


def _phase_within(opens_at: datetime, closes_at: datetime, levels: Levels, now: datetime) -> Phase:
    if now < opens_at:
        return Phase.UPCOMING
    if now >= closes_at:
        return Phase.ENDED
    if levels.is_stopped:
        return Phase.PAUSED
    if levels.available <= 0:
        return Phase.SOLD_OUT
    return Phase.ACTIVE


class Showing:
    """An immutable snapshot of one sale; see the module."""

    def __init__(
        self,
        sale: PublishedSale,
        phase: Phase,
        total: int,
        available: int,
        now: datetime,
        *,
        is_settling: bool = False,
    ) -> None:
        self.sale = sale
        self.phase = phase
        self.total = total
        self.available = available
        self.is_settling = is_settling and phase is Phase.SOLD_OUT
        """All is taken, but not all of it is confirmed: some of it may come back."""
        self._faces: dict[str, Face] = {}
        self._legacy_status = self._older_clients_status(now)
        self._status: tuple[datetime, Prepared] | None = None

    @classmethod
    def of(cls, sale: PublishedSale, levels: Levels | None, now: datetime) -> Showing:
        """The snapshot at `now`. Without the gate's levels, the figures are the ones the worker last counted."""
        phase = phase_at(sale, levels, now)
        if levels is None or not levels.loaded:
            return cls(sale, phase, sale.stock, sale.available, now)
        return cls(sale, phase, levels.stock, max(levels.available, 0), now, is_settling=levels.pending > 0)

    def gone(self, now: datetime, *, is_known: bool) -> Showing:
        """For those who are looking while the sale is taken off the shop, or, where that isn't known, vanishes."""
        phase = Phase.ENDED if is_known else Phase.NOT_READY
        return Showing(self.sale, phase, self.total, self.available, now)

    @property
    def state(self) -> tuple[Any, ...]:
        """What decides whether anything has to be rendered anew."""
        return (
            self.sale.version,
            self.sale.epoch,
            self.phase,
            self.total,
            self.available,
            self.is_settling,
            self._legacy_status,
        )

    @property
    def taken(self) -> int:
        """Units reserved or sold."""
        return self.total - self.available

    @property
    def taken_percent(self) -> int:
        """Whole percent of the stock that is taken, for the bar; 100 only when all of it is."""
        return self.taken * 100 // self.total if self.total else 100

    @property
    def is_low(self) -> bool:
        """Whether the page may say that few are left."""
        return self.phase is Phase.ACTIVE and self.available <= max(1, int(self.total * LOW_STOCK_SHARE))

    def face(self, language: str) -> Face:
        """This snapshot in one language."""
        if language not in self._faces:
            self._faces[language] = Face(self, language)
        return self._faces[language]

    def banner_html(self, language: str) -> str:
        """The banner partial: the page, the poll and the socket send this same text."""
        return self.face(language).banner_html

    def status(self, now: datetime) -> Prepared:
        """The status JSON with the time of day in it, at most `STATUS_FRESH_MS` old. Its ETag ignores the time."""
        if self._status is None or abs((now - self._status[0]).total_seconds()) * 1000 > STATUS_FRESH_MS:
            data = self.status_data | {"serverTime": iso_utc(now)}
            self._status = (now, _json(data, validator=encode(self.status_data)))
        return self._status[1]

    @cached_property
    def status_data(self) -> dict[str, Any]:
        sale = self.sale
        return {
            "status": self._legacy_status,
            "phase": self.phase.value,
            "startDate": iso_utc(sale.opens_at),
            "endDate": iso_utc(sale.closes_at),
            "availableStock": self.available,
            "totalStock": self.total,
            "limitPerUser": sale.limit_per_shopper,
            "price": sale.price_minor,
            "currency": sale.currency,
            "sku": sale.sku,
        }

    @cached_property
    def product_data(self) -> dict[str, Any]:
        sale = self.sale
        return {
            "sku": sale.sku,
            "name": sale.name,
            "description": sale.description,
            "price": sale.price_minor,
            "currency": sale.currency,
            "imageUrl": sale.image_url,
            "totalStock": self.total,
            "availableStock": self.available,
            "startDate": iso_utc(sale.opens_at),
            "endDate": iso_utc(sale.closes_at),
            "limit": {"perUser": sale.limit_per_shopper},
        }

    @cached_property
    def product(self) -> Prepared:
        return _json(self.product_data, validator=encode(self.product_data))

    @cached_property
    def stock(self) -> Prepared:
        data = {"availableStock": self.available, "totalStock": self.total}
        return _json(data, validator=encode(data))

    def _older_clients_status(self, now: datetime) -> str:
        """The three words older clients know."""
        if self.phase is Phase.SOLD_OUT or now >= self.sale.closes_at:
            return "ended"
        return "upcoming" if now < self.sale.opens_at else "active"


class Face:
    """A snapshot in one language."""

    def __init__(self, showing: Showing, language: str) -> None:
        self.language = language
        self._showing = showing

    @cached_property
    def context(self) -> dict[str, Any]:
        """What the templates of a sale's page need, texts as people of this language write them."""
        sale = self._showing.sale
        moment = partial(languages.moment_html, language=self.language)
        is_one_day = sale.opens_at.date() == sale.closes_at.date()
        return {
            "showing": self._showing,
            "sale": sale,
            "price": format_minor(sale.price_minor, sale.currency, languages.locale_of(self.language)),
            "limit": limit_text(sale.limit_per_shopper, self.language),
            "opens": moment(sale.opens_at),
            "closes": moment(sale.closes_at),
            "opens_from": moment(sale.opens_at, part="from"),
            "closes_until": moment(sale.closes_at, part="until" if is_one_day else ""),
        }

    @cached_property
    def banner_html(self) -> str:
        return languages.render("sales/_banner.html", self.context, self.language)

    @cached_property
    def banner(self) -> Prepared:
        return Prepared(self.banner_html.encode(), HTML, REVALIDATE, vary=languages.VARY)

    @cached_property
    def page(self) -> Prepared:
        """The sale's page; holds nothing about the viewer."""
        text = languages.render("sales/page.html", {**self.context, "banner": self.banner_html}, self.language)
        return Prepared(text.encode(), HTML, REVALIDATE, vary=languages.VARY)


def limit_text(limit: int, language: str) -> str:
    """How many one shopper may buy, as people read it."""
    with translation.override(language):
        if limit == 1:
            return gettext("One per shopper")
        return ngettext("Up to %(limit)s per shopper", "Up to %(limit)s per shopper", limit) % {"limit": limit}


def render_products(showings: list[Showing]) -> Prepared:
    """The list of all products on show."""
    data = [showing.product_data for showing in showings]
    return _json(data, validator=encode(data))


def _json(data: Any, validator: bytes) -> Prepared:
    body = b'{"status":"ok","data":%b,"error":null,"code":null%b' % (encode(data), timestamp_tail())
    return Prepared(body, JSON, REVALIDATE, validator)
