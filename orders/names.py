"""What somebody typed as their name: how it is compared, and how it is shown.

Two names that look alike are one. Compared is Unicode's NFKC_Casefold (The Unicode Standard, section 3.13, and UAX 31),
repeated until nothing changes any more. What can't be seen counts for nothing, and is not shown either: it makes two
names out of one, and a bidirectional control turns the sentence around it.
"""

from __future__ import annotations

import re
import unicodedata

# Default_Ignorable_Code_Point (DerivedCoreProperties.txt): what is drawn as nothing, bidirectional controls among it.
# Code points that are not assigned yet are in it where Unicode keeps them free for more of the same.
DEFAULT_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Drawn as nothing, too, though no property says so: a blank Braille pattern, a note without a head, a filler, and two
# blank hieroglyphs.
BLANK = "\u2800\U00016fe4\U0001d159\U00013441\U00013442"
JOINERS = "\u200c\u200d"

_INVISIBLE = re.compile(f"[{DEFAULT_IGNORABLE}{BLANK}]")
_NOT_SHOWN = re.compile(f"(?![{JOINERS}])[{DEFAULT_IGNORABLE}{BLANK}]")
# Persian, the scripts of India and emoji are written with a joiner between two characters; Latin, Greek, Cyrillic and
# Hebrew never are.
_JOINED = "\u0600-\u1fff\u2190-\U0010ffff"
_STRAY_JOINER = re.compile(f"(?<![{_JOINED}])[{JOINERS}]+|[{JOINERS}]+(?![{_JOINED}])")


def compared(name: str) -> str:
    """The same text for every spelling of a name: case, width, composition, white space and what can't be seen don't
    count. Empty when nothing can be seen.
    """
    if name.isascii():
        return " ".join(name.lower().split())
    before, found = "", name
    while found != before:
        before, found = found, _folded(found)
    # NFKC puts letters together that folding takes apart again. Ids were made of the latter and have to stay.
    return " ".join(found.casefold().split())


def _folded(text: str) -> str:
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFD", text))
    # Format characters that are drawn (the Arabic number signs) never counted.
    visible = "".join(char for char in visible if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible.casefold())


def shown(name: str) -> str:
    """The name without what can't be seen and without white space around it; joiners stay where letters need them."""
    return name.strip() if name.isascii() else _STRAY_JOINER.sub("", _NOT_SHOWN.sub("", name)).strip()
