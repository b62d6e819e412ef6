"""The fast part of the fault suite: real processes, a storm, one fault of each kind. `make faults` runs all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from conftest import BASE_DIR
from flashdrop.faults.all_faults import FAULTS, QUICK

MUST_BE_ZERO = (
    "oversold", "over_limit", "doubled", "lost", "stranded", "untrue", "wrong_retries", "unkept", "server_errors",
)  # fmt: skip
LONGEST_SECONDS = 150


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What a quick run reports, by fault."""
    report = tmp_path_factory.mktemp("faults") / "rows.json"
    command = [sys.executable, "-m", "flashdrop.faults", "--quick", "--json", str(report)]
    done = subprocess.run(
        command, cwd=BASE_DIR, env=os.environ, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
    )
    assert report.exists(), done.stdout + done.stderr
    sys.stdout.write(done.stdout)
    return {row["fault"]: row for row in json.loads(report.read_text())}


@pytest.mark.parametrize("fault", QUICK)
def test_every_promise_holds(rows: dict[str, dict[str, Any]], fault: str) -> None:
    row = rows[fault]
    assert {name: row[name] for name in MUST_BE_ZERO} == dict.fromkeys(MUST_BE_ZERO, 0), row["notes"]
    assert row["confirmed"] == row["stock"]
    assert row["recovered_after"] is not None
    assert row["balanced_after"] is not None
    assert row["broken"] == []


def test_every_fault_says_what_it_is() -> None:
    assert [name for name, fault in FAULTS.items() if fault.what == name] == []
    assert set(QUICK) <= set(FAULTS)


def test_an_unknown_fault_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flashdrop.faults", "--only", "nonsense"],
        cwd=BASE_DIR, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nonsense" in done.stderr
