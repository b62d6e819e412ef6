"""Waiting for real processes, from tests that are not asynchronous."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from conftest import fetch


def until(holds: Callable[[], Any], seconds: float = 60.0, told: Callable[[], str] = str) -> None:
    """Return once it holds; fail, with what is `told`, when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether somebody there says 200."""
    try:
        return fetch(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
