"""One line of the go/no-go page: what was looked at, what was found, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Light(StrEnum):
    """How good a line is."""

    GREEN = "green"
    AMBER = "amber"
    """It can open like this; somebody should have decided so."""
    RED = "red"
    """Don't open like this."""


@dataclass(frozen=True, slots=True)
class Line:
    """`todo` is empty for green; `details` are for whoever runs the shop; `picture` is an address to be shown."""

    light: Light
    name: str
    found: str
    todo: str = ""
    details: tuple[str, ...] = ()
    picture: str = ""


def green(name: str, found: str, **more: str | tuple[str, ...]) -> Line:
    return Line(Light.GREEN, name, found, **more)  # type: ignore[arg-type]


def amber(name: str, found: str, todo: str, **more: str | tuple[str, ...]) -> Line:
    return Line(Light.AMBER, name, found, todo, **more)  # type: ignore[arg-type]


def red(name: str, found: str, todo: str, **more: str | tuple[str, ...]) -> Line:
    return Line(Light.RED, name, found, todo, **more)  # type: ignore[arg-type]


def sorted_by_light(lines: Sequence[Line]) -> list[Line]:
    """What is to be done first comes first; within a light the order stays."""
    order = [Light.RED, Light.AMBER, Light.GREEN]
    return sorted(lines, key=lambda line: order.index(line.light))


def worst(lines: Sequence[Line]) -> Light:
    """The light of all lines together."""
    lights = {line.light for line in lines}
    return next((light for light in (Light.RED, Light.AMBER) if light in lights), Light.GREEN)
