"""Which versions of the stores run the shop, and which still get fixes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orders.doctor.finding import Notes


@dataclass(frozen=True, slots=True)
class Product:
    """A store's product: `oldest` runs the shop; those before `maintained` get no fixes from their makers."""

    name: str
    oldest: tuple[int, int]
    maintained: tuple[int, int]


REDIS = Product("Redis", (7, 0), (7, 2))
VALKEY = Product("Valkey", (7, 0), (7, 2))
MONGODB = Product("MongoDB", (6, 0), (7, 0))


def judge_version(product: Product, version: str, notes: Notes) -> None:
    """Note whether `version` is one that the shop is tested on and that still gets fixes."""
    parts = re.match(r"(\d+)\.(\d+)", version)
    if parts is None:
        return notes.advice("version", f"can't be checked: {product.name} says {version!r}", "ask whoever runs it")
    number = (int(parts[1]), int(parts[2]))
    if number < product.oldest:
        return notes.at_risk(
            "version",
            f"{product.name} {version}: older than any that the shop was tested on, so no promise is known to hold",
            f"upgrade to {product.name} {_text(product.maintained)} or later",
        )
    if number < product.maintained:
        return notes.advice(
            "version",
            f"{product.name} {version}: its makers no longer mend it",
            f"upgrade to {product.name} {_text(product.maintained)} or later, unless your system's packages still get "
            "fixes",
        )
    return notes.ok("version", f"{product.name} {version}")


def _text(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"
