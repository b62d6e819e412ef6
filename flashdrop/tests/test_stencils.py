"""Templates rendered once, with holes filled for each viewer."""

from __future__ import annotations

from typing import Any

import pytest
from django.template import Context, Template

from flashdrop import stencils
from flashdrop.stencils import Stencil

# The ways in which partials print what is the viewer's own.
PARTIAL = """<p title="{{ name }}" data-note='{{ note }}'>{{ greeting }}, <b>{{ name }}</b> {{ note }}</p>"""
NASTY = "<script>\"x\" & 'y' &amp; {{ name }} {% now 'Y' %} \\1 \\g<0>"


def rendered(name: str, context: dict[str, Any], language: str = "en") -> str:
    """Stands in for the loader: the template's text is its name."""
    return Template(name).render(Context(context))


@pytest.fixture(autouse=True)
def templates_by_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stencils, "render", rendered)


def partial(**context: Any) -> Stencil:
    return Stencil(PARTIAL, {"greeting": "Hello"} | context, ("name", "note"), "en")


@pytest.mark.parametrize("value", ["Ada", "", NASTY, "Zoë 🦊 \u200d", "\n\t", "{{ note }}", "note"])
def test_a_filled_stencil_is_what_rendering_would_give(value: str) -> None:
    expected = rendered(PARTIAL, {"greeting": "Hello", "name": value, "note": "n"})
    assert partial().fill(name=value, note="n") == expected


def test_a_value_cannot_leave_its_attribute_or_open_a_tag() -> None:
    text = partial().fill(name='" onload="x', note="' onload='x")
    assert 'title="&quot; onload=&quot;x"' in text
    assert "data-note='&#x27; onload=&#x27;x'" in text
    assert "<script>" not in partial().fill(name="<script>", note="<script>")


def test_what_is_fixed_is_escaped_too() -> None:
    assert "&lt;i&gt;, <b>" in partial(greeting="<i>").fill(name="", note="")


def test_a_hole_may_stand_in_several_places() -> None:
    assert partial().fill(name="Ada", note="").count("Ada") == 2


def test_each_filling_is_its_own() -> None:
    stencil = partial()
    first = stencil.fill(name="Ada", note="1")
    assert "Ada" not in stencil.fill(name="Bob", note="2")
    assert stencil.fill(name="Ada", note="1") == first


def test_a_hole_that_is_not_filled_is_an_error() -> None:
    with pytest.raises(KeyError, match="note"):
        partial().fill(name="Ada")


def test_a_value_for_no_hole_is_left_alone() -> None:
    assert Stencil("<p></p>", {}, (), "en").fill(name="Ada") == "<p></p>"


def test_a_value_is_not_looked_into_for_holes() -> None:
    marked = f"{stencils._OPEN}note{stencils._CLOSE}"
    assert "secret" not in partial().fill(name=marked, note="secret").split("<b>")[1].split("</b>")[0]


def test_no_mark_is_left_in_the_text() -> None:
    text = partial().fill(name="Ada", note="n")
    assert not {stencils._OPEN, stencils._CLOSE} & set(text)
