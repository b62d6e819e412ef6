"""Templates rendered once, with holes that are filled for each viewer.

A partial that differs between viewers only in a few values costs a join of strings instead of a template rendering.
"""

from __future__ import annotations

import re
from typing import Any

from django.utils.html import conditional_escape

from flashdrop.languages import render

# Private-use code points: no template contains them and escaping leaves them alone.
_OPEN, _CLOSE = "\ue000", "\ue001"
_HOLE = re.compile(f"{_OPEN}([a-z_]+){_CLOSE}")


class Stencil:
    """The template `name`, rendered with `context` in `language`, and a hole wherever it writes `{{ <hole> }}`.

    Holes are for printing only: in a condition or a filter they would be judged at cutting time.
    """

    def __init__(self, name: str, context: dict[str, Any], holes: tuple[str, ...], language: str) -> None:
        marked = context | {hole: f"{_OPEN}{hole}{_CLOSE}" for hole in holes}
        # Odd places hold the names of the holes.
        self._parts = _HOLE.split(render(name, marked, language))

    def fill(self, **values: str) -> str:
        """The text with each hole filled; what is not marked as safe HTML is escaped.

        Raises:
            KeyError: a hole was given no value.
        """
        parts = self._parts.copy()
        for place in range(1, len(parts), 2):
            parts[place] = conditional_escape(values[parts[place]])
        return "".join(parts)
