"""Exits 0 when what runs in this container answers: `healthcheck.py [PORT] [PATH]`, by default the shop's /healthz.

It asks for the first of ALLOWED_HOSTS, because the shop answers to no other name. The standard library is all it needs.
"""

from __future__ import annotations

import http.client
import os
import sys

SECONDS = 4


def main(port: str = os.environ.get("PORT", "8000"), path: str = "/healthz") -> str | None:
    """What is wrong, or None."""
    first = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".")
    host = first if first not in ("", "*") else "127.0.0.1"
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=SECONDS)
    try:
        connection.request("GET", path, headers={"Host": host})
        status = connection.getresponse().status
    except OSError as error:
        return f"nothing answers at port {port}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"{path} answers {status}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
