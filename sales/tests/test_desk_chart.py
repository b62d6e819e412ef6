"""Charts: what is drawn is what was counted, and can be read without seeing it."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from django.template.loader import render_to_string

from conftest import BASE_DIR
from sales.desk.chart import HEIGHT, SHAPE, Kind, Series, bars, over_time
from sales.desk.scale import ago_ticks, clock_ticks, number, round_ticks, spread

NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC


def corners(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (0, [0, 1]),
        (3, [0, 1, 2, 3]),
        (7, [0, 2, 4, 6, 8]),
        (95, [0, 50, 100]),
        (12_345, [0, 5_000, 10_000, 15_000]),
        (0.2, [0, 1]),
    ],
)
def test_heights_are_round_and_hold_all(highest: float, ticks: list[float]) -> None:
    assert round_ticks(highest) == ticks


def test_times_are_round_and_not_too_many() -> None:
    assert [tick.label for tick in ago_ticks(300)] == ["-5 min", "-4", "-3", "-2", "-1", "now"]
    assert [(tick.label, tick.at) for tick in clock_ticks(NOON + 60, NOON + 1860)] == [
        ("12:10", 30.0),
        ("12:20", 63.33),
        ("12:30", 96.67),
    ]
    for span in (3, 50, 400, 7_000, 90_000, 3_000_000):
        assert 1 <= len(clock_ticks(NOON + 7, NOON + 7 + span)) <= 5, span


def test_numbers_are_written_as_people_do() -> None:
    assert [number(value) for value in (0, 0.2, 3.0, 3.44, 12.6, 1204)] == ["0", "0.2", "3", "3.4", "13", "1,204"]


def test_words_keep_clear_of_each_other() -> None:
    places = spread([100, 101, 102, 159, 160], 16, 8, 156)
    assert all(after - before >= 16 for before, after in pairwise(sorted(places)))
    assert (min(places) >= 8, max(places) <= 156) == (True, True)


def test_each_value_keeps_its_height_for_its_time() -> None:
    chart = over_time("c", "Sold", [Series("Sold", [0, 4, 4, 2])], begins=NOON, step_seconds=60, unit="units")
    assert [tick.label for tick in chart.y_ticks] == ["0", "1", "2", "3", "4"]
    (shape,) = chart.shapes
    expected = [(0, SHAPE), (250, SHAPE), (250, 0), (750, 0), (750, SHAPE / 2), (SHAPE, SHAPE / 2)]
    assert corners(shape.line) == expected
    assert corners(shape.area) == [*expected, (SHAPE, SHAPE), (0, SHAPE)]


def test_bands_lie_on_each_other() -> None:
    series = [Series("a", [1, 2]), Series("b", [3, 2], 2)]
    chart = over_time("c", "Both", series, begins=NOON, step_seconds=1, unit="units", is_stacked=True)
    first, second = chart.shapes
    assert corners(second.line) == [(0, 0), (SHAPE, 0)]
    # The lower edge of the second is the upper edge of the first.
    assert corners(second.area)[-len(corners(first.line)) :] == corners(first.line)[::-1]
    assert second.label_at < first.label_at <= HEIGHT


def test_the_right_edge_may_be_later_than_the_last_value() -> None:
    chart = over_time(
        "c", "T", [Series("a", [1, 1])], begins=NOON + 2, step_seconds=4, unit="u", left=NOON, ends=NOON + 20
    )
    assert [x for x, _ in corners(chart.shapes[0].line)] == [100, 500]


def test_nothing_yet_is_a_chart_too() -> None:
    chart = over_time("c", "Orders", [Series("Orders", [])], begins=NOON, step_seconds=1, unit="per second")
    assert chart.summary == "Orders, per second. Orders: none."
    assert 'd=""' in render_to_string("desk/_chart.html", {"chart": chart})
    assert "Nothing yet." in render_to_string("desk/_bars.html", {"chart": bars("b", "B", [], unit="u")})


@pytest.mark.parametrize(("kind", "expected"), [(Kind.RATE, "2"), (Kind.LEVEL, "3"), (Kind.COUNT, "6")])
def test_the_table_says_what_is_true_of_several_values(kind: Kind, expected: str) -> None:
    values = [1.0, 2.0, 3.0] * 12
    chart = over_time("c", "T", [Series("a", values)], begins=NOON, step_seconds=60, unit="u", kind=kind)
    assert chart.head == ["From (UTC)", f"a, {kind.value}"]
    assert chart.rows == [[f"12:{minute:02}", expected] for minute in range(0, 36, 3)]


def test_a_chart_can_be_read_without_seeing_it() -> None:
    series = [Series("Bought", [5, 1]), Series("Out <of> stock", [0, 7], 3)]
    chart = over_time("c", "Answers", series, begins=NOON, step_seconds=60, unit="per second")
    text = render_to_string("desk/_chart.html", {"chart": chart})
    told = "Answers, per second. Bought: 1 at the end, at most 5; Out &lt;of&gt; stock: 7 at the end, at most 7."
    assert f'role="img" aria-label="{told}"' in text
    assert '<th scope="row">12:01</th><td>1</td><td>7</td>' in text
    assert text.count("Out &lt;of&gt; stock") == 4
    assert "style=" not in text


def test_bars_are_as_long_as_their_values() -> None:
    found = bars("b", "Told", [("Sold", 40, 1), ("Out of stock", 1204, 3), ("Other", 0, 4)], unit="answers")
    assert [(bar.value, bar.percent) for bar in found.bars] == [("40", 3.32), ("1,204", 100.0), ("0", 0.0)]
    assert found.summary == "Told, answers: Sold 40; Out of stock 1,204; Other 0."
    text = render_to_string("desk/_bars.html", {"chart": found})
    assert 'class="chart-fill chart-colour-3" width="100.0%"' in text


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("place", "ground"), [(0, "#ffffff"), (1, "#121212")])
def test_colours_stand_out_from_the_page(place: int, ground: str) -> None:
    """4.5 to 1, since words are written in them too; light first, then dark."""
    css = (BASE_DIR / "static" / "css" / "desk-chart.css").read_text()
    for number_ in range(1, 6):
        colour = re.findall(rf"--chart-{number_}: (#\w{{6}});", css)[place]
        low, high = sorted((luminance(colour), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, colour
