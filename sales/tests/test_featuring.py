"""What has the front page, whatever else is on show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest

from sales.board import Board
from sales.featuring import SOON, choose
from sales.showing import Phase, Showing
from sales.tests.test_board import shown

HOUR = timedelta(hours=1)
# The best first; each hides all that come after it.
IN_ORDER = {
    "open": shown("open", -1, 9),
    "not ready": shown("not-ready", -1, 8, Phase.NOT_READY),
    "opens within a day": shown("opens-within-a-day", 23, 30, Phase.UPCOMING),
    "opens within a day, not ready": shown("opens-soon-not-ready", 23.5, 30, Phase.NOT_READY),
    "next": shown("next", 25, 30, Phase.UPCOMING),
    "next, not ready": shown("next-not-ready", 26, 30, Phase.NOT_READY),
    "all taken for now": shown("all-taken", -1, 8, Phase.SOLD_OUT, is_settling=True),
    "sold out": shown("sold-out", -1, 7, Phase.SOLD_OUT),
    "paused": shown("paused", -1, 1, Phase.PAUSED),
    "paused, not ready": shown("paused-not-ready", -1, 2, Phase.NOT_READY, paused=True),
    "over": shown("over", -9, -1, Phase.ENDED),
    "over, not ready": shown("over-not-ready", -9, -2, Phase.NOT_READY),
}


@pytest.mark.parametrize(("better", "worse"), list(combinations(IN_ORDER, 2)))
def test_of_two_sales_the_better_one_is_featured(better: str, worse: str) -> None:
    pair = [IN_ORDER[better], IN_ORDER[worse]]
    now = datetime.now(UTC)
    assert choose(pair, now) is choose(pair[::-1], now) is IN_ORDER[better]


def test_the_choice_follows_the_clock_alone() -> None:
    """Between two looks at the stores the phases on the board stand still; the front page does not."""
    now = datetime.now(UTC)
    ends = shown("ends", -1, 2)
    comes = shown("comes", 30, 40, Phase.UPCOMING)
    assert choose([ends, comes], now) is ends
    assert choose([ends, comes], ends.sale.closes_at) is comes
    assert choose([ends, comes], comes.sale.closes_at) is comes


@pytest.mark.parametrize("edge", ["a day before", "opens", "closes"])
def test_what_the_board_remembers_is_chosen_anew_at_each_moment_that_may_change_it(
    edge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime.now(UTC) + timedelta(days=30)
    opens_at = {"a day before": at + SOON, "opens": at, "closes": at - HOUR}[edge]
    closes_at = at if edge == "closes" else opens_at + HOUR
    drawn = shown("drawn", 0, 0)
    one = Showing(replace(drawn.sale, opens_at=opens_at, closes_at=closes_at), Phase.ACTIVE, 10, 5, at)
    board = Board()
    board.by_sku = {"drawn": one}
    clock = [at - timedelta(microseconds=1)]
    monkeypatch.setattr(board, "now", lambda: clock[0])
    assert board.featured() is one
    assert board._featured_until == at
    clock[0] = at
    board.featured()
    assert board._featured_until > at
