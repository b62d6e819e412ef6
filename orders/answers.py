"""Each refusal's HTTP status and words, for JSON and HTML alike."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.translation import gettext_noop as _

from orders.placing import Refusal


class Answer(NamedTuple):
    """How a refusal is told."""

    status: int
    message: str
    retry_after_seconds: int | None = None


ANSWERS = {
    Refusal.PRODUCT_NOT_FOUND: Answer(404, _("This product is not on sale here.")),
    Refusal.NOT_STARTED: Answer(400, _("The sale has not started yet.")),
    Refusal.ENDED: Answer(400, _("The sale is over.")),
    Refusal.PAUSED: Answer(423, _("The sale is paused. Please stay on the page.")),
    Refusal.NAME_NEEDED: Answer(401, _("This sale needs a name. Please sign in first.")),
    Refusal.LIMIT_EXCEEDED: Answer(403, _("You have already bought as many as one shopper may.")),
    Refusal.OUT_OF_STOCK: Answer(409, _("This item is out of stock.")),
    Refusal.PRICE_CHANGED: Answer(409, _("The price has changed. Nothing was bought.")),
    Refusal.KEY_REUSED: Answer(422, _("That try was already used for another order. Please start a new one.")),
    Refusal.NOT_READY: Answer(503, _("We can't take orders for a moment. Please try again."), 1),
    Refusal.OVERLOADED: Answer(503, _("Too many people are buying at once. Please try again."), 1),
}
SIGN_IN_FIRST = Answer(401, _("Please sign in first."))
CROSS_SITE = Answer(403, _("This request came from another site."))
SIGN_OUT_LATER = Answer(503, _("We can't sign you out for a moment. Please try again."), 2)
HISTORY_UNKNOWN = Answer(503, _("We can't look up orders for a moment. Please try again."), 2)
