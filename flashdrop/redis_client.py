"""The Redis connection of an event loop: one server, a Sentinel's primary, or a Cluster, by the form of `REDIS_URL`.

- `redis://host:port/0` (`rediss://` for TLS): one server;
- `redis+sentinel://host:port,host:port/<service>/0`: the primary that the Sentinels name now;
- `redis+cluster://host:port,host:port`: a Cluster; every key of a sale is on one of its nodes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashdrop.config import ConfigError, config
from flashdrop.envelope import from_ms
from flashdrop.loops import PerLoop

__all__ = [
    "Gate",
    "RedisConnectionError",
    "RedisError",
    "RedisTimeoutError",
    "new_redis",
    "one_for_each_server",
    "redis",
    "run_ids",
    "server_time",
]

# redis-py's two clients share their commands, but no base class that says so.
Gate: TypeAlias = Redis

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
MAX_CONNECTIONS = 16
POOL_WAIT_SECONDS = 1.0
RETRIES = 1
CLUSTER_RETRIES = 3
HEALTH_CHECK_SECONDS = 15
DEFAULT_PORTS = {"redis+sentinel": 26379, "redis+cluster": 6379}


def new_redis(url: str) -> Gate:
    """A client whose every call ends within a few seconds, whatever the server does.

    redis-py repeats a command whose connection broke, scripts included: safe here because each script is idempotent by
    order id or by version. One repeat covers a connection that died while idle; more would hide an outage.

    Raises:
        ConfigError: the address has none of the forms above.
    """
    parts = urlsplit(url)
    if parts.scheme == "redis+sentinel":
        return _sentinels_primary(url)
    if parts.scheme == "redis+cluster":
        nodes = [ClusterNode(host, port) for host, port in _hosts(url)]
        retry = Retry(_backoff(), CLUSTER_RETRIES)
        cluster: Any = _Cluster(startup_nodes=nodes, retry=retry, require_full_coverage=False, **_bounds(url))
        return cluster  # type: ignore[no-any-return]
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(f"REDIS_URL has an unknown form: {parts.scheme}://... (see docs/reference/configuration.md)")
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=POOL_WAIT_SECONDS,
        retry=Retry(_backoff(), RETRIES),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        health_check_interval=HEALTH_CHECK_SECONDS,
        **_bounds(""),
    )
    return Redis(connection_pool=pool)


async def server_time(client: Gate) -> datetime:
    """The server's clock; in a Cluster one node's, which its operator keeps in step with the others'."""
    cluster = _as_cluster(client)
    if cluster is None:
        seconds, microseconds = await client.time()
    else:
        await cluster.initialize()
        seconds, microseconds = await cluster.time(target_nodes=cluster.get_random_node())
    return from_ms(int(seconds) * 1000 + int(microseconds) // 1000)


async def run_ids(client: Gate, keys: Sequence[str]) -> list[str]:
    """For each key, what its server calls its current run: another one after each restart, and on each replica."""
    cluster = _as_cluster(client)
    if cluster is None:
        run_id: str = (await client.info("server"))["run_id"]
        return [run_id] * len(keys)
    # Its map is asked below, which by itself would never be looked at anew.
    await cluster.initialize()
    found: dict[str, str] = {}
    nodes = [cluster.get_node_from_key(key) for key in keys]
    for node in nodes:
        if node is None:
            raise RedisConnectionError("no node of the cluster serves this key")
        if node.name not in found:
            found[node.name] = (await cluster.info("server", target_nodes=node))["run_id"]
    return [found[node.name] for node in nodes if node is not None]


def one_for_each_server(client: Gate, keys: Sequence[str]) -> list[str]:
    """Of `keys` as many as it takes to have one on each server that holds any of them: the first; in a Cluster more.

    Raises:
        redis.exceptions.ConnectionError: no node of the cluster serves one of them.
    """
    cluster = _as_cluster(client)
    if cluster is None:
        return list(keys[:1])
    found: dict[str, str] = {}
    for key in keys:
        node = cluster.get_node_from_key(key)
        if node is None:
            raise RedisConnectionError("no node of the cluster serves this key")
        found.setdefault(node.name, key)
    return list(found.values())


# What redis-py's Cluster client raises besides: an error of its own, and where its map of the slots has a hole whatever
# that comes to (`KeyError` for a pipeline, `AttributeError` without a default node).
NOT_ANSWERED = (RedisClusterException, LookupError, AttributeError, OSError)


@contextlib.contextmanager
def _as_redis_errors(cluster: RedisCluster) -> Iterator[None]:
    """A Cluster's failures are `RedisError`s like those of the other forms; the next call looks at its map anew."""
    try:
        yield
    except NOT_ANSWERED as error:
        cluster._initialize = True
        raise RedisConnectionError(f"the cluster can't answer: {error!r}") from error


class _Pipeline(ClusterPipeline):
    async def execute(self, *args: Any, **kwargs: Any) -> list[Any]:
        with _as_redis_errors(self.cluster_client):
            return await super().execute(*args, **kwargs)


class _Cluster(RedisCluster):
    async def initialize(self, *args: Any, **kwargs: Any) -> RedisCluster:
        with _as_redis_errors(self):
            return await super().initialize(*args, **kwargs)

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        with _as_redis_errors(self):
            return await super().execute_command(*args, **kwargs)

    def pipeline(self, transaction: Any | None = None, shard_hint: Any | None = None) -> ClusterPipeline:
        return _Pipeline(self, transaction)  # type: ignore[abstract]

    def get_node_from_key(self, key: str, replica: bool = False) -> ClusterNode | None:
        with _as_redis_errors(self):
            return super().get_node_from_key(key, replica)

    def get_random_node(self) -> ClusterNode:
        with _as_redis_errors(self):
            return super().get_random_node()


def _as_cluster(client: Any) -> RedisCluster | None:
    return client if isinstance(client, RedisCluster) else None


def _sentinels_primary(url: str) -> Redis:
    service, _, database = urlsplit(url).path.strip("/").partition("/")
    if not service:
        raise ConfigError("REDIS_URL needs the name of the service: redis+sentinel://host:port,host:port/<service>/0")
    watched = {"socket_timeout": CONNECT_SECONDS, "socket_connect_timeout": CONNECT_SECONDS}
    sentinel = Sentinel(_hosts(url), sentinel_kwargs=watched)  # type: ignore[no-untyped-call]
    primary: Redis = sentinel.master_for(
        service,
        db=int(database or 0),
        max_connections=MAX_CONNECTIONS * 4,
        retry=Retry(_backoff(), RETRIES),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        **_bounds(url),
    )
    return primary


def _bounds(url: str) -> dict[str, Any]:
    """What every form has in common: bounded waits, text answers, and the credentials of the forms we parse."""
    common: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "decode_responses": True,
    }
    credentials = {"username": urlsplit(url).username, "password": urlsplit(url).password}
    return common | {name: value for name, value in credentials.items() if value}


def _hosts(url: str) -> list[tuple[str, int]]:
    parts = urlsplit(url)
    found = []
    for address in parts.netloc.rpartition("@")[2].split(","):
        host, _, port = address.partition(":")
        if not host or (port and not port.isdigit()):
            raise ConfigError(f"REDIS_URL names a host that can't be read: {address!r}")
        found.append((host, int(port or DEFAULT_PORTS[parts.scheme])))
    return found


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=0.02, cap=0.2)


async def _close(client: Gate) -> None:
    await client.aclose()
    if _as_cluster(client) is None:
        await client.connection_pool.disconnect()


redis: PerLoop[Gate] = PerLoop(lambda: new_redis(config.redis_url), _close)
