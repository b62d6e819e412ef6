"""What follows from doing something to orders, said before it is done."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils import timezone

from orders.desk.deeds import CANCEL, FULFIL, Deed
from orders.desk.words import capital, units
from sales.models import Sale


def consequences(deed: Deed, numbers: Sequence[int], sales: Sequence[Sale], orders: int = 1) -> list[str]:
    """One sentence each; `numbers` are the units that the orders hold, `sales` theirs."""
    one = orders == 1
    if deed is CANCEL:
        return [
            _back_on_sale(numbers, sales, orders),
            "The shopper's page and receipt will say that the order was cancelled, without the reason."
            if one
            else "The shoppers' pages and receipts will say that their orders were cancelled, without the reason.",
            "They may buy again." if any(map(_is_running, sales)) or not sales else "",
            "This can't be undone: a cancelled order stays cancelled.",
        ]
    if deed is FULFIL:
        return [
            "It counts as handed over." if one else f"{orders:,} orders count as handed over.",
            "A fulfilled order can't be cancelled, unless it is opened again first.",
            "Shoppers see no difference.",
        ]
    return [
        "The order counts as not handed over yet. It can be cancelled or fulfilled.",
        "The shopper sees no difference.",
    ]


def went_back(numbers: Sequence[int], sales: Sequence[Sale]) -> str:
    """What became of the units of an order that was cancelled."""
    verb = "is" if len(numbers) == 1 else "are"
    where = "on sale again" if any(map(_is_running, sales)) or not sales else "back in stock"
    return f"{capital(units(numbers))} {verb} {where}."


def _back_on_sale(numbers: Sequence[int], sales: Sequence[Sale], orders: int) -> str:
    spoken = capital(units(numbers)) if orders == 1 else f"{len(numbers):,} units"
    verb = "goes" if len(numbers) == 1 and orders == 1 else "go"
    if not sales or any(map(_is_running, sales)):
        return f"{spoken} {verb} on sale again at once; anybody may buy."
    if all(sale.closes_at <= timezone.now() or not sale.published for sale in sales):
        return f"{spoken} {verb} back into stock. The sale is over or withdrawn, so nobody can buy them now."
    return f"{spoken} {verb} back into stock, and can be bought as soon as the sale is open and not paused."


def _is_running(sale: Sale) -> bool:
    return sale.published and not sale.paused and sale.opens_at <= timezone.now() < sale.closes_at
