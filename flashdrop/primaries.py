"""The Redis servers that take writes, each asked by itself: one, or a Cluster's every primary.

For looking after servers. What the shop asks of the gate goes through the client, which finds the right server by key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool

from flashdrop.envelope import from_ms
from flashdrop.redis_client import Gate

__all__ = ["Primary", "primaries"]


@dataclass(frozen=True, slots=True)
class Primary:
    """One server. Every method is one command and raises `redis.exceptions.RedisError` when it fails."""

    address: str
    client: Any
    node: ClusterNode | None = None

    @property
    def _where(self) -> dict[str, Any]:
        return {} if self.node is None else {"target_nodes": self.node}

    async def info(self) -> dict[str, Any]:
        """All that the server says about itself."""
        said: dict[str, Any] = await self.client.info(**self._where)
        return said

    async def setting(self, name: str) -> str | None:
        """A setting as it is in force; None when this server has none of that name."""
        found: dict[str, str] = await self.client.config_get(name, **self._where)
        return found.get(name)

    async def time(self) -> datetime:
        """The server's clock."""
        seconds, microseconds = await self.client.time(**self._where)
        return from_ms(int(seconds) * 1000 + int(microseconds) // 1000)

    async def cluster(self) -> dict[str, str] | None:
        """How the server sees the Cluster it is in; None when it is in none."""
        return None if self.node is None else await self.client.cluster_info(**self._where)

    def serves(self, key: str) -> bool:
        """Whether `key` is one of this server's."""
        return self.node is None or self.client.get_node_from_key(key).name == self.node.name


async def primaries(client: Gate) -> list[Primary]:
    """The servers behind `client`, in the order of their addresses.

    Raises:
        redis.exceptions.RedisError: no server says which they are.
    """
    anything: Any = client
    if isinstance(anything, RedisCluster):
        await anything.initialize()
        found = [Primary(f"{node.host}:{node.port}", anything, node) for node in anything.get_primaries()]
        return sorted(found, key=lambda one: one.address)
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        host, port = await pool.get_master_address()  # type: ignore[no-untyped-call]
        return [Primary(f"{host}:{port}", client)]
    where = pool.connection_kwargs
    return [Primary(where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}", client)]
