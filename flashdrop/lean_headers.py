"""A request's headers as the lean door reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any


class LeanHeaders(Mapping[str, str]):
    """A request's headers, each decoded when it is asked for; names in any case."""

    __slots__ = ("_raw",)

    def __init__(self, raw: dict[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return self._raw[_raw_name(name)].decode("latin1")

    def get(self, name: str, default: Any = None) -> Any:
        value = self._raw.get(_raw_name(name))
        return default if value is None else value.decode("latin1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _raw_name(name) in self._raw

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)


@lru_cache(256)
def _raw_name(name: str) -> bytes:
    return name.lower().encode("latin1")
