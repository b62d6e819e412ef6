"""Write the dashboards: `python -m flashdrop.dashboards`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from flashdrop.dashboards.panels import Dashboard
from flashdrop.dashboards.platform import PLATFORM
from flashdrop.dashboards.promises import PROMISES
from flashdrop.dashboards.sale_live import SALE_LIVE
from flashdrop.dashboards.stores import STORES

FOLDER = Path(__file__).resolve().parents[2] / "deploy/grafana/dashboards"
DASHBOARDS = {"sale-live": SALE_LIVE, "platform": PLATFORM, "stores": STORES, "promises": PROMISES}


def text_of(dashboard: Dashboard) -> str:
    """The file's text."""
    return json.dumps(dashboard.as_json(), indent=1, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> None:
    """Write each dashboard to its file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (folder / f"{name}.json").write_text(text_of(dashboard), encoding="utf-8")


if __name__ == "__main__":
    write()
    sys.stdout.write(f"{len(DASHBOARDS)} dashboards in {FOLDER}\n")
