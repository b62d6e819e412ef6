"""`make dev`: the shop of `make run`, whose web server and worker begin anew whenever a file of theirs changes.

The stores go on. A change that does not even start says so, and the next one is waited for.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from watchfiles import Change, watch

from flashdrop import run
from flashdrop.run import BASE_DIR, CannotRun, Shop

FOLDERS = ("flashdrop", "sales", "orders", "templates", "static", "lua")
KINDS = {".py", ".html", ".css", ".js", ".svg", ".lua", ".mo"}


class DevelopmentShop(Shop):
    """A shop that follows its source."""

    def wait(self) -> int:
        """Begin anew at each change. Returns when a store has ended, with the exit code for that."""
        folders = [BASE_DIR / folder for folder in FOLDERS]
        for changes in watch(*folders, watch_filter=is_source, rust_timeout=1000, yield_on_timeout=True):
            if changes:
                self._follow({Path(path).relative_to(BASE_DIR).as_posix() for _, path in changes})
            elif not self.has_stores():
                return 1
        return 0

    def _follow(self, changed: set[str]) -> None:
        begun = time.monotonic()
        print(f"\n  Changed: {', '.join(sorted(changed))}", flush=True)
        try:
            self.begin_anew()
        except CannotRun as error:
            print(f"{error}\n\n  Waiting for the next change.", file=sys.stderr, flush=True)
        else:
            print(f"  Live again after {time.monotonic() - begun:.1f} s: {self.url}/\n", flush=True)


def is_source(change: Change, path: str) -> bool:
    """Whether the file is part of what runs."""
    found = Path(path)
    return found.suffix in KINDS and "tests" not in found.parts


if __name__ == "__main__":
    sys.exit(run.main(DevelopmentShop))
