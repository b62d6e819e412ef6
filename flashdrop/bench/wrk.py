"""The load generator: wrk, with one thread, and what it saw."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent / "wrk"
# Above this share of its one core the generator is what limits the figure.
GENERATOR_LIMIT = 0.9
TIMEOUT_SECONDS = 10
Percentiles = dict[float, float]


class WrkMissing(Exception):
    """wrk is not installed; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw. `refused` are answers with a status of 400 or more; latencies in ms by percentile."""

    requests: int
    seconds: float
    refused: int
    broken: int
    """Connections that failed: refused, reset, cut."""
    timeouts: int
    latency_ms: Percentiles
    generator_share: float
    """Of one core, used by wrk itself."""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def is_generator_limited(self) -> bool:
        return self.generator_share > GENERATOR_LIMIT


def run_wrk(
    url: str, connections: int, seconds: int, *, headers: dict[str, str] | None = None, buy: tuple[str, ...] = ()
) -> Load:
    """Load `url` from `connections` connections. `buy` are the arguments of `wrk/buy.lua`, for purchases.

    Raises:
        WrkMissing: it is not installed.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise WrkMissing("The benchmarks need wrk; `make tools` installs it.")
    script = (SCRIPTS / "report.lua").read_text() + ((SCRIPTS / "buy.lua").read_text() if buy else "")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s", "-s", file.name]
        for name, value in (headers or {}).items():
            command += ["-H", f"{name}: {value}"]
        with subprocess.Popen([*command, url, "--", *buy], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if process.returncode or not lines:
        raise RuntimeError(f"wrk failed ({process.returncode}): {output[-400:]}")
    found = json.loads(lines[0].removeprefix("RESULT "))
    return Load(
        requests=found["requests"],
        seconds=found["duration_us"] / 1e6,
        refused=found["refused"],
        broken=found["broken"],
        timeouts=found["timeouts"],
        latency_ms={float(share): us / 1000 for share, us in found["latency_us"].items()},
        generator_share=(usage.ru_utime + usage.ru_stime) / (found["duration_us"] / 1e6),
    )
