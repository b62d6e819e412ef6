"""Loads and runs `lua/*.lua`.

A script's header is its contract: what it does and the race it closes, then `KEYS`, `ARGV`, `RETURNS`, `ERRORS`, one
section each. `flashdrop/tests/test_scripts.py` holds headers and code against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from redis.asyncio import Redis

from flashdrop.config import BASE_DIR

LUA_DIR = BASE_DIR / "lua"


@cache
def source(name: str) -> str:
    """The text of `lua/<name>.lua`.

    Raises:
        FileNotFoundError: no such script.
    """
    return (LUA_DIR / f"{name}.lua").read_text(encoding="utf-8")


async def run_script(client: Redis, name: str, keys: Sequence[str], args: Iterable[str | int | bytes]) -> Any:
    """Run one script atomically: by its digest, and once more with its text when the server doesn't know it.

    Raises:
        redis.exceptions.RedisError: the server is away or refused; the outcome may be unknown.
    """
    return await client.register_script(source(name))(keys=keys, args=args)
