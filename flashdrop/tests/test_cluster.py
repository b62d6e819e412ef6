"""The shop as deployed: nginx in front of several hosts, replicated stores, and the loss of each kind of process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flashdrop.cluster.losses import LOSSES
from flashdrop.cluster.rolling import VIEWERS
from flashdrop.config import BASE_DIR
from flashdrop.tests.prove_cluster import UNITS

PROOF_SECONDS = 400
# The suite's own limit comes after the proof's, which tells more.
pytestmark = pytest.mark.timeout(PROOF_SECONDS + 60)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One installation for all of this module: it takes a while to start."""
    file = tmp_path_factory.mktemp("cluster") / "found.json"
    # Nothing of this suite's own shop: the installation names its own stores.
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    done = subprocess.run(
        [sys.executable, "-m", "flashdrop.tests.prove_cluster", str(file)],
        cwd=BASE_DIR, env=environment, capture_output=True, text=True, timeout=PROOF_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(file.read_text())
    return result


def test_every_kind_of_process_was_lost_while_units_were_sold(found: dict[str, Any]) -> None:
    assert len(found["told"]) == len(LOSSES)
    sold = [int(line.split(" units sold")[0].split()[-1].replace(",", "")) for line in found["told"]]
    assert sum(count > 0 for count in sold) >= len(LOSSES) - 3, found["told"]


def test_no_loss_breaks_a_promise(found: dict[str, Any]) -> None:
    assert found["losses"] == [], found["notes"]
    assert found["confirmed"] == UNITS


def test_a_rolling_restart_loses_no_request_and_no_order(found: dict[str, Any]) -> None:
    assert found["rolling"] == []
    assert set(found["answers"]) == {"200", "201"}
    assert found["answers"]["201"] > 50


def test_viewers_come_back_to_another_host(found: dict[str, Any]) -> None:
    assert found["websockets"] > VIEWERS


def test_the_canary_restart_of_all_at_once_is_seen(found: dict[str, Any]) -> None:
    assert found["careless_failures"] > 0
    assert found["careless"]


def test_without_a_program_it_says_what_to_install(tmp_path: Path) -> None:
    """Where the servers are not installed, there is a sentence and no traceback."""
    environment = {"PATH": str(Path(sys.executable).parent), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "flashdrop.cluster"],
        cwd=BASE_DIR, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "make tools" in done.stderr or "on the PATH" in done.stderr
    assert "Traceback" not in done.stderr
