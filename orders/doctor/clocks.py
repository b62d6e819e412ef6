"""How far the clocks of the hosts are apart. Redis's alone decides when a sale is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from orders.doctor.finding import Area, Finding, Notes

TELLING_SECONDS = 1.0
WRONG_SECONDS = 5.0
READINGS = 3

Clock = Callable[[], datetime]
SYNCHRONIZE = "`timedatectl set-ntp true` (chrony or systemd-timesyncd), on every host"


def host_clock() -> datetime:
    """This host's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Offset:
    """By how much `who` is ahead of this host, less what the round trip leaves open; negative when behind."""

    who: str
    seconds: float
    decides_window: bool


async def measure(who: str, ask: Callable[[], Awaitable[datetime]], clock: Clock, *, decides_window: bool) -> Offset:
    """Ask for a server's time a few times and believe the quickest answer.

    Raises: what `ask` raises.
    """
    best: tuple[float, float] | None = None
    for _ in range(READINGS):
        before = clock()
        there = await ask()
        after = clock()
        trip = (after - before).total_seconds()
        ahead = (there - before).total_seconds() - trip / 2
        if best is None or trip < best[0]:
            best = (trip, ahead)
    assert best is not None
    trip, ahead = best
    certain = max(0.0, abs(ahead) - trip / 2)
    return Offset(who, certain if ahead > 0 else -certain, decides_window)


def judge_offsets(offsets: list[Offset]) -> list[Finding]:
    """One finding for each server whose clock was read."""
    notes = Notes(Area.CLOCKS)
    for offset in offsets:
        _judge(offset, _blames_this_host(offsets), notes)
    return notes.findings


def _blames_this_host(offsets: list[Offset]) -> bool:
    """Whether the servers agree with each other, and not with us."""
    seconds = [offset.seconds for offset in offsets]
    return len(seconds) > 1 and max(seconds) - min(seconds) <= TELLING_SECONDS


def _judge(offset: Offset, blames_this_host: bool, notes: Notes) -> None:
    apart = abs(offset.seconds)
    if apart <= TELLING_SECONDS:
        return notes.ok(offset.who, f"within {TELLING_SECONDS:.0f} s of this host")
    way = "ahead of" if offset.seconds > 0 else "behind"
    found = f"{apart:.1f} s {way} this host"
    advice = SYNCHRONIZE
    if blames_this_host:
        found += (
            "; the stores agree with each other, so this host's clock is the wrong one: its orders' times are wrong"
        )
        advice = f"`timedatectl set-ntp true` on this host, then {SYNCHRONIZE}"
    elif offset.decides_window:
        late = "early" if offset.seconds > 0 else "late"
        found += f"; the window is judged by it, so sales open and close {apart:.1f} s {late} (promise 7: one clock)"
    else:
        found += "; no decision rests on it, but it tells of a host that nothing keeps in time"
    if apart > WRONG_SECONDS:
        return notes.at_risk(offset.who, found, advice)
    return notes.advice(offset.who, found, advice)
