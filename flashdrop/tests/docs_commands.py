"""The commands that the documentation tells people to type: found, and of each how it can be tried."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from conftest import BASE_DIR

PAGES = [BASE_DIR / "README.md", BASE_DIR / "SECURITY.md", *sorted((BASE_DIR / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
# Whatever begins with one of these is meant to be typed. A span of one word names a program.
PROGRAM = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:make|manage\.py|python|k6|curl|docker|docker-compose|kubectl|nginx|promtool|apt|pip|kill|"
    r"ulimit|split|cp|chmod|cd|export|git|sh|bash|sudo|systemctl|redis-cli|mongosh|openssl|psql|wrk|"
    r"\./\S+|deploy/\S+\.sh)(?: |$)"
)
# Fenced blocks that show something else than commands.
DRAWING = re.compile(r"[─→▼│]|/ +\||^\{")
SHELLS = ("", "sh", "bash", "shell", "console")


class How(StrEnum):
    """How a command is tried."""

    RUN = "run as written over a running shop, placeholders filled"
    STARTED = "started as written, until it is up, and ended"
    PARSED = "its own parser judges its arguments; too long or too big to be run whole"
    DRY = "`make --dry-run`, and the arguments that it passes on are judged by their own parser"
    INSPECTED = "`k6 inspect`"
    NAMED = "only names a program or a target, without anything to be wrong in"
    ONLY_CHECKED = "the shell can read it, and what it names of the checkout is there; it can't be run here"


# The first that matches. Of each there has to be one, so that nothing stands here that the pages no longer say.
KINDS: tuple[tuple[str, How], ...] = (
    (r"manage\.py changepassword ", How.PARSED),  # asks on a terminal
    (r"manage\.py initiate_mongodb ", How.PARSED),  # three servers; `test_replica_set` runs it
    (r"manage\.py .*\[", How.PARSED),  # a synopsis
    (r"([A-Z_]+=\S+ )*manage\.py (serve|run_worker)$", How.STARTED),
    (r"manage\.py \w+", How.RUN),
    (r"python -m flashdrop\.", How.PARSED),
    (r"make stress-(…|<scenario>)$", How.NAMED),
    (r"make( |$)", How.DRY),
    (r"k6 run .", How.INSPECTED),
    (r"k6 run$", How.NAMED),
    (r"curl ", How.RUN),
    (r"split ", How.RUN),
    (r"cp deploy/prometheus/", How.ONLY_CHECKED),  # into /etc
    (r"cd \S+ && cp \S+ \S+$", How.RUN),
    (r"chmod ", How.ONLY_CHECKED),  # secrets that only a production host has
    (r"export PATH=", How.NAMED),  # by a test of its own
    (r"export [A-Z_]+=", How.ONLY_CHECKED),  # for the `docker compose` below it
    (r"(docker|docker-compose)( |$)", How.ONLY_CHECKED),  # no daemon; `test_deploy_files` reads the same files
    (r"kubectl ", How.ONLY_CHECKED),  # no cluster; `test_kubernetes` builds the same overlays
    (r"nginx -", How.ONLY_CHECKED),  # as root; `test_nginx_files` has nginx read the same files
    (r"promtool ", How.ONLY_CHECKED),  # in /etc; `test_watching` runs both over the same files
    (r"([A-Z_]+=\S+ )?deploy/run-production\.sh ", How.ONLY_CHECKED),  # a swarm; `test_run_production` runs it
    (r"\./prometheus-rules\.sh ", How.ONLY_CHECKED),  # `test_kubernetes` runs it
    (r"\.venv/bin/python orders/tests/releases/record\.py ", How.ONLY_CHECKED),  # it adds a release's documents
    (r"pip check$", How.NAMED),
    (r"git grep ", How.ONLY_CHECKED),  # in the checkout, which the shop of these tests is not in
    (r"kill -9$", How.NAMED),
    (r"wrk -t1 -c100$", How.NAMED),
    (r"ulimit -n$", How.NAMED),
)


class Command(NamedTuple):
    """One command, and the first place where it stands."""

    text: str
    where: str

    @property
    def how(self) -> How | None:
        """None: nobody has said yet how it is to be tried."""
        return next((how for pattern, how in KINDS if re.match(pattern, self.text)), None)


def commands() -> list[Command]:
    """Each command of the pages once."""
    found: dict[str, Command] = {}
    for page in PAGES:
        for text, line in typed_in(page.read_text(encoding="utf-8")):
            found.setdefault(text, Command(text, f"{page.relative_to(BASE_DIR)}:{line}"))
    return list(found.values())


def typed_in(page: str) -> Iterator[tuple[str, int]]:
    """Each line of a shell's block, each span that begins with a program, and their lines."""
    for fence in FENCE.finditer(page):
        first = page.count("\n", 0, fence.start(3)) + 1
        if fence[2] not in SHELLS or DRAWING.search(fence[3]):
            continue
        for offset, line in enumerate(fence[3].splitlines()):
            yield without_comment(line), first + offset
    prose = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), page)
    for number, line in enumerate(prose.splitlines(), 1):
        for span in SPAN.findall(line):
            first, _, rest = span.partition(" ")
            if span == "make" or (rest and (PROGRAM.match(span) or shutil.which(first))):
                yield span.replace("\\|", "|"), number


def without_comment(line: str) -> str:
    return re.sub(r"(^|\s+)#\s.*$", "", line).strip()


def named_files(text: str) -> list[str]:
    """What a command names of the checkout: paths, without those in which a reader has to put something."""
    words = (word for word in re.split(r"[\s=:,]+", text) if "VERSION" not in word)
    return [
        word
        for word in words
        if re.fullmatch(r"(?:deploy|docs|k6|flashdrop|orders|overlays|components)/[\w./*-]+", word)
    ]
