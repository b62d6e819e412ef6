"""What a control will do, told before it is done: in plain words, with the figures of the moment."""

from __future__ import annotations

from typing import Any

from sales.desk import words
from sales.desk.controls import Action
from sales.desk.standing import Standing
from sales.models import Sale
from sales.showing import Phase

HEADINGS = {
    Action.PAUSE: ("Pause this sale?", "Pause now"),
    Action.RESUME: ("Resume this sale?", "Resume now"),
    Action.CLOSE: ("Close this sale now?", "Close now"),
    Action.EXTEND: ("Move the end?", "Move the end"),
    Action.END_AT: ("Move the end?", "Move the end"),
    Action.RAISE: ("Raise the stock?", "Raise the stock"),
    Action.LOWER: ("Lower the stock?", "Lower the stock"),
    Action.SET_STOCK: ("Change the stock?", "Change the stock"),
    Action.WITHDRAW: ("Take this sale off the shop?", "Withdraw now"),
    Action.SHOW_AGAIN: ("Show this sale again?", "Show it again"),
}


def consequences(sale: Sale, action: Action, values: dict[str, Any], standing: Standing) -> list[str]:
    """Each is a sentence or two. `values` is what `controls.plan` came to."""
    if action is Action.PAUSE:
        said = _pause(sale, standing)
    elif action in (Action.RESUME, Action.SHOW_AGAIN):
        said = [*_on_show(action), *_buyable(sale, standing)]
    elif action is Action.CLOSE:
        said = [
            "The sale ends at once. Shoppers see “Sale over” within a second, and nobody can buy any more.",
            f"{_left(standing)} not sold.",
            _being_confirmed(standing),
            "If this was a mistake you can open it again by moving its end.",
        ]
    elif action is Action.WITHDRAW:
        said = [
            "The sale disappears from the shop within a second, and nobody can buy. Its address says that there is no "
            "such sale.",
            _being_confirmed(standing),
            "Orders stand, and shoppers keep their receipts. You can show the sale again here.",
        ]
    elif "closes_at" in values:
        said = _end(sale, values, standing)
    else:
        said = _stock(sale, values["stock"], standing)
    return said + stores_away(standing, action)


def _pause(sale: Sale, standing: Standing) -> list[str]:
    if standing.now < sale.opens_at:
        first = f"The sale opens at {words.moment(sale.opens_at)} as planned, but nobody can buy until you resume."
    else:
        first = "Shoppers see “Paused” within a second. Nobody can buy until you resume."
    left = words.duration(sale.closes_at - standing.now)
    return [
        first,
        _being_confirmed(standing),
        f"{_left(standing)} kept for when you resume.",
        f"The closing time stays: {words.moment(sale.closes_at)}, in {left}. A long pause may need a later end.",
    ]


def _on_show(action: Action) -> list[str]:
    return ["Shoppers see the sale again within a second."] if action is Action.SHOW_AGAIN else []


def _buyable(sale: Sale, standing: Standing) -> list[str]:
    if standing.now >= sale.closes_at:
        return ["It is over, so nobody can buy until you move its end."]
    if sale.paused and not sale.published:
        return ["It is paused, so nobody can buy until you resume it."]
    closes = f"until {words.moment(sale.closes_at)}, for {words.duration(sale.closes_at - standing.now)}"
    if standing.now < sale.opens_at:
        return [f"Shoppers can buy from the opening on, {words.moment(sale.opens_at)}."]
    if standing.left == 0:
        return [f"It is sold out: shoppers see that, and can buy only if you raise the stock. It runs {closes}."]
    return [f"Shoppers can buy again within a second, {closes}.", f"{_left(standing)} on sale."]


def _end(sale: Sale, values: dict[str, Any], standing: Standing) -> list[str]:
    before, after = sale.closes_at, values["closes_at"]
    moved = f"{words.duration(abs(after - before))} {'later' if after > before else 'earlier'}"
    said = [f"The sale closes at {words.moment(after)} instead of {words.moment(before)}: {moved}."]
    if standing.now >= before:
        said.append("It is over now: this opens it again at once, for everybody.")
    else:
        said.append("Shoppers see the new time within a second.")
    if sale.paused:
        said.append("It stays paused: nobody can buy until you resume it.")
    elif standing.left == 0:
        said.append("It is sold out: nobody can buy unless you raise the stock as well.")
    else:
        said.append(f"{_left(standing)} on sale.")
    return said


def _stock(sale: Sale, wanted: int, standing: Standing) -> list[str]:
    said = [f"The stock goes from {sale.stock:,} to {wanted:,}."]
    if standing.taken == 0:
        said.append(f"Nothing is sold yet, so all {words.units(wanted)} can be bought.")
    elif standing.taken is not None:
        left = max(wanted - standing.taken, 0)
        sold = f"{words.units(standing.taken)} {'is' if standing.taken == 1 else 'are'} sold or reserved"
        said.append(
            f"{sold}, so {words.units(left)} can be bought after this." if left else f"{sold}: that is sold out."
        )
    if wanted > sale.stock and standing.phase is Phase.SOLD_OUT:
        said.append("Shoppers who see “Sold out” can buy again within a second.")
    elif wanted < sale.stock:
        said.append("Nobody loses an order. Units that are bought meanwhile keep the stock as high as they need.")
    return said


def _left(standing: Standing) -> str:
    if standing.left is None:
        return "How many units are left can't be told now; they are"
    return f"{words.units(standing.left)} {'is' if standing.left == 1 else 'are'} left and"


def _being_confirmed(standing: Standing) -> str:
    if not standing.pending:
        none = standing.pending == 0
        return "No order is being confirmed right now." if none else "Orders that are being confirmed still complete."
    if standing.pending == 1:
        return "1 unit that is being confirmed still becomes an order."
    return f"{words.units(standing.pending)} that are being confirmed still become orders."


def stores_away(standing: Standing, action: Action | None = None) -> list[str]:
    """What a store that is away does to `action`, or to another change."""
    said = []
    if not standing.ledger_answers and action is Action.PAUSE:
        said.append(
            "The ledger can't be reached right now. The gate stops the sale at once all the same; it stays stopped "
            "until somebody resumes it, which needs the ledger."
        )
    elif not standing.ledger_answers:
        said.append(
            "The ledger can't be reached right now. This would be saved here and take effect when the ledger is back: "
            "until then shoppers are served as before."
        )
    if not standing.gate_answers:
        said.append(
            "The gate can't be asked from here right now. Where it can be reached it sells as before; this takes "
            "effect when it is back."
        )
    return said
