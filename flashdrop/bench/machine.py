"""The machine a benchmark ran on, in words for people: what a figure means depends on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flashdrop.embedded.mongo_server import mongo_binary
from flashdrop.embedded.process import StoreUnavailable
from flashdrop.embedded.redis_server import redis_binary

# Not from flashdrop.config, which needs an environment that stands only once the stores run.
BASE_DIR = Path(__file__).resolve().parents[2]
ADDITIONS = 10_000_000
UNKNOWN = "unknown"
PACKAGES = (("Django", "Django"), ("uvicorn", "uvicorn"), ("uvloop", "uvloop"), ("redis-py", "redis"), ("pymongo",) * 2)
BYTES_PER_GIB = 2**30
ASK_SECONDS = 10


def describe() -> list[tuple[str, str]]:
    """What ran the benchmark, as pairs of a name and a text; `unknown` where this system doesn't say.

    Neither host names nor paths are among them: the pairs may be published.
    """
    return [
        ("processor", _processor()),
        ("cores", _cores()),
        ("memory", _memory()),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}".strip() or UNKNOWN),
        ("Python", _python()),
        *((name, _installed(package)) for name, package in PACKAGES),
        ("gate", _gate()),
        ("ledger", _ledger()),
        ("wrk", _found(r"^wrk (\S+)", _ask("wrk", "--version"))),
        ("Chromium", _chromium()),
        ("date", f"{datetime.now(UTC):%Y-%m-%d}"),
        ("commit", _commit()),
    ]


def _processor() -> str:
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return _ask("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or UNKNOWN
    # ARM's kernels name no model.
    name = _found(r"(?m)^model name\s*:\s*(.+)$", about)
    return (platform.machine() or UNKNOWN) if name == UNKNOWN else name


def _cores() -> str:
    there = os.cpu_count()
    if there is None:
        return UNKNOWN
    if not hasattr(os, "sched_getaffinity"):  # macOS
        return str(there)
    ours = len(os.sched_getaffinity(0))
    return str(there) if ours == there else f"{ours} of {there}"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / BYTES_PER_GIB:.1f} GiB"
    except (OSError, ValueError):
        return UNKNOWN


def _python() -> str:
    # How an interpreter was optimised is written nowhere reliable, and makes up to a factor of two: so it is timed.
    began = time.perf_counter()
    total = 0
    for number in range(ADDITIONS):
        total += number
    seconds = time.perf_counter() - began
    return f"{platform.python_implementation()} {platform.python_version()}; ten million additions take {seconds:.1f} s"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return UNKNOWN


def _gate() -> str:
    said = _ask(_binary(redis_binary), "--version")
    number = _found(r"\bv=(\S+)", said)
    return UNKNOWN if number == UNKNOWN else f"{said.split()[0]} {number}"


def _ledger() -> str:
    number = _found(r"^db version v(\S+)", _ask(_binary(mongo_binary), "--version"))
    return UNKNOWN if number == UNKNOWN else f"MongoDB {number}"


def _chromium() -> str:
    return _found(r"(\d+(?:\.\d+)+)", _ask("chromium", "--version") or _ask("chromium-browser", "--version"))


def _commit() -> str:
    commit = _ask("git", "rev-parse", "--short", "HEAD")
    # The pages that a benchmark itself writes are no change of what it measures.
    changes = commit and _ask("git", "status", "--porcelain", "--", ".", ":(exclude)docs")
    return f"{commit} with changes" if changes else commit or UNKNOWN


def _binary(find: Callable[[], Path]) -> str:
    try:
        return str(find())
    except StoreUnavailable:
        return ""


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1].strip() if match else UNKNOWN


def _ask(command: str, *arguments: str) -> str:
    """What a command prints, whatever it exits with: `wrk --version` fails and answers. Empty if it isn't there."""
    binary = shutil.which(command)
    if binary is None:
        return ""
    try:
        asked = subprocess.run(  # noqa: S603
            [binary, *arguments], cwd=BASE_DIR, capture_output=True, text=True, timeout=ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()
