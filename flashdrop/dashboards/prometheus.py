"""A Prometheus of one's own for a while: the binary on the PATH, in a folder, asked by its HTTP API."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flashdrop.bench.row import Points
from flashdrop.embedded.process import Server, StoreUnavailable, free_port

START_SECONDS = 15.0
RULES = Path(__file__).resolve().parents[2] / "deploy/prometheus"
Labels = dict[str, str]


class Prometheus:
    """Scrapes `targets`, addresses by job, and evaluates `rules`, each `every` so often (as `500ms`).

    Raises:
        StoreUnavailable: the binary is missing, or it does not come up.
    """

    def __init__(
        self, folder: Path, targets: Mapping[str, Sequence[str]], rules: Mapping[str, str], every: str = "500ms"
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._targets = sum(map(len, targets.values()))
        self._server = Server("prometheus", command(folder, port, targets, rules, every), folder / "prometheus.log")
        self._server.wait_until(self._is_ready, START_SECONDS)

    def sees_all(self) -> bool:
        """Whether every target answers; the first look comes some five seconds after the start."""
        return len(self.query("up == 1")) == self._targets

    def stop(self) -> None:
        self._server.stop()

    def query(self, expr: str) -> list[tuple[Labels, float]]:
        """The series of `expr` now, each with its value.

        Raises:
            ValueError: Prometheus can't read `expr`; the text says why.
        """
        data = self.ask("query", query=expr)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[tuple[Labels, Points]]:
        """The series of `expr` from `start` to `end` (Unix time), each with its points.

        Raises:
            ValueError: Prometheus can't read `expr`; the text says why.
        """
        data = self.ask("query_range", query=expr, start=f"{start}", end=f"{end}", step=f"{step}")
        return [
            (series["metric"], [(float(at), float(value)) for at, value in series["values"]])
            for series in data["result"]
        ]

    def ask(self, what: str, **parameters: str) -> dict[str, Any]:
        """`/api/v1/<what>`: its `data`."""
        try:
            url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
            with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{parameters}: {error.read().decode(errors='replace')[:500]}") from error
        data: dict[str, Any] = answer["data"]
        return data

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as response:  # noqa: S310
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def command(
    folder: Path, port: int, targets: Mapping[str, Sequence[str]], rules: Mapping[str, str], every: str
) -> list[str]:
    """Write the settings of a Prometheus into `folder`; returns the command that starts it on `port`.

    Raises:
        StoreUnavailable: the binary is missing.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        raise StoreUnavailable("prometheus is missing; `make tools` installs it")
    for name, text in rules.items():
        (folder / name).write_text(text, encoding="utf-8")
    jobs = [{"job_name": job, "static_configs": [{"targets": list(found)}]} for job, found in targets.items()]
    intervals = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    settings = {"global": intervals, "rule_files": list(rules), "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]


def shipped_rules() -> dict[str, str]:
    """The rules of `deploy/prometheus/`, by file."""
    return {name: (RULES / name).read_text(encoding="utf-8") for name in ("recording.yml", "alerts.yml")}
