"""The shop page as shoppers will see it, in each phase of a sale that need not be published yet.

Rendered by the templates and the `Showing` that shoppers are served by, from the back office's settings alone: no store
is asked, and nothing here can be bought.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.utils.safestring import mark_safe

from flashdrop import languages
from orders import panel
from orders.answers import ANSWERS
from orders.identity import Shopper
from orders.notices import Notice
from orders.order import Order, OrderStatus
from orders.placing import Refusal
from sales.published import PublishedSale, SaleSettings
from sales.showing import Phase, Showing

HOUR = timedelta(hours=1)
SHOPPER = Shopper("preview", "Alex Example", "preview")


class Scene(NamedTuple):
    """A phase of the sale, when in its life it is shown, and how much of the stock is left then."""

    name: str
    label: str
    about: str
    phase: Phase
    left: Callable[[int], int]
    at: Callable[[SaleSettings], datetime]


class Viewer(NamedTuple):
    """Who looks: what the page's own panel says to them."""

    name: str
    label: str
    panel: Callable[[PublishedSale, str, Scene], str]
    """Of a sale, in a language, in a scene."""


def _before(sale: SaleSettings) -> datetime:
    return sale.opens_at - timedelta(minutes=12, seconds=34)


def _during(share: float) -> Callable[[SaleSettings], datetime]:
    return lambda sale: sale.opens_at + (sale.closes_at - sale.opens_at) * share


def _after(sale: SaleSettings) -> datetime:
    return sale.closes_at + HOUR


SCENES = (
    Scene("upcoming", "Before it opens", "Shoppers gather and watch the countdown.", Phase.UPCOMING, int, _before),
    Scene("active", "On sale", "A third of the stock is taken.", Phase.ACTIVE, lambda n: n - n // 3, _during(0.1)),
    Scene("low", "Few left", "At most a tenth is left.", Phase.ACTIVE, lambda n: max(1, n // 20), _during(0.2)),
    Scene("sold_out", "Sold out", "All is taken; the window is open.", Phase.SOLD_OUT, lambda n: 0, _during(0.3)),
    Scene("paused", "Paused", "You have paused it; nobody can buy.", Phase.PAUSED, lambda n: n - n // 3, _during(0.15)),
    Scene("ended", "Over", "The window has closed.", Phase.ENDED, lambda n: n // 10, _after),
    Scene("not_ready", "Not ready", "The stock can't be reached; nobody can buy.", Phase.NOT_READY, int, _during(0.05)),
)  # fmt: skip
REFUSED_IN = {
    Phase.UPCOMING: Refusal.NOT_STARTED,
    Phase.ACTIVE: Refusal.LIMIT_EXCEEDED,
    Phase.PAUSED: Refusal.PAUSED,
    Phase.SOLD_OUT: Refusal.OUT_OF_STOCK,
    Phase.ENDED: Refusal.ENDED,
    Phase.NOT_READY: Refusal.NOT_READY,
}


def _refusal_in(scene: Scene) -> Notice:
    refusal = REFUSED_IN[scene.phase]
    return Notice(refusal.value, message=ANSWERS[refusal].message)


def _ordered(status: OrderStatus) -> Callable[[PublishedSale, str, Scene], str]:
    def shown(sale: PublishedSale, language: str, scene: Scene) -> str:
        bought_at = min(scene.at(sale), sale.closes_at)
        held = () if status is OrderStatus.CANCELLED else (1,)
        order = Order(
            id="preview",
            sale_id=sale.id,
            sku=sale.sku,
            shopper_id=SHOPPER.id,
            shopper_name=SHOPPER.name,
            session_id=SHOPPER.session_id,
            key_digest=None,
            units=held,
            slots=held,
            quantity=1,
            price_minor=sale.price_minor,
            currency=sale.currency,
            status=status,
            reserved_at=bought_at,
            created_at=bought_at,
        )
        allowed = sale.limit_per_shopper - (not order.is_given_up)
        return panel.with_orders(sale, language, [order], allowed=allowed)

    return shown


VIEWERS = (
    Viewer("signed_out", "Not signed in", lambda sale, language, scene: panel.signed_out(sale, language)),
    Viewer("signed_in", "Signed in", lambda sale, language, scene: panel.ready(sale, language, SHOPPER)),
    Viewer(
        "refused",
        "Tried, refused",
        lambda sale, language, scene: panel.ready(sale, language, SHOPPER, _refusal_in(scene)),
    ),
    Viewer("pending", "Being confirmed", _ordered(OrderStatus.PENDING)),
    Viewer("bought", "Has bought", _ordered(OrderStatus.COMPLETED)),
    Viewer("cancelled", "Order cancelled", _ordered(OrderStatus.CANCELLED)),
    Viewer("taken", "Name already used", lambda sale, language, scene: panel.taken(sale, language, SHOPPER)),
)


def scene_named(name: str) -> Scene:
    """The scene of that name; the first where there is none."""
    return next((scene for scene in SCENES if scene.name == name), SCENES[0])


def viewer_named(name: str) -> Viewer:
    """The viewer of that name; the first where there is none."""
    return next((viewer for viewer in VIEWERS if viewer.name == name), VIEWERS[0])


def render(settings: SaleSettings, scene: Scene, viewer: Viewer, language: str) -> str:
    """The whole page in one of the shop's languages.

    Its clock stands still at the scene's moment, and every control in it is disabled.
    """
    sale = _as_published(settings)
    at = scene.at(sale)
    showing = Showing(sale, scene.phase, sale.stock, scene.left(sale.stock), at)
    face = showing.face(language)
    context = {
        **face.context,
        "banner": face.banner_html,
        "panel": mark_safe(viewer.panel(sale, language, scene)),  # noqa: S308  # the shop's own template
        "scene": scene,
        "still_at": at.astimezone(UTC),
    }
    return languages.render("desk/preview_page.html", context, language)


def _as_published(settings: SaleSettings) -> PublishedSale:
    return PublishedSale(
        **asdict(settings),
        version=0,
        epoch=0,
        available=settings.stock,
        highest_stock=settings.stock,
        highest_limit=settings.limit_per_shopper,
    )
