"""Where Redis is: one ``Connection``, shared by as many queues as one likes."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import redis
import redis.asyncio

from ..errors import ConfigError
from ..retry import Duration, seconds
from .address import Address, parse_address
from .aio import AsyncDriver
from .async_sources import AsyncClusterSource, AsyncPoolSource, AsyncSource
from .clients import (
    CALL_TIMEOUT,
    AsyncCluster,
    Cluster,
    GivenAsyncCluster,
    GivenCluster,
    OwnedAsyncCluster,
    OwnedCluster,
    async_pool,
    pool,
    takes_options,
)
from .failures import bad_option, bad_url
from .listing import alist_names, list_names
from .sources import ClusterSource, PoolSource, SyncSource
from .sync import SyncDriver

__all__ = ["Client", "Connection"]

Client = redis.Redis | redis.asyncio.Redis | redis.RedisCluster | redis.asyncio.RedisCluster
"""The clients of redis-py; one made by Sentinel is a ``Redis`` too."""

Tell = Callable[[str], None]


class Connection:
    """How queues reach Redis.

    From a URL both kinds of connections are made as they are needed. Queues that share it keep 64
    at most for publishing while nothing is published, however many queues they are; what consumes
    has one or two of its own. A client that you made is used as it is and never closed here; it
    serves only its own kind of loop.

    Args:
        redis: ``redis://``, ``rediss://`` (TLS), or ``unix://`` URL, or a client of redis-py:
            ``Redis``, ``RedisCluster``, or their ``redis.asyncio`` twins. A Cluster's URL is
            ``redis+cluster://host:port,host:port``, that of a master which Sentinels watch
            ``redis+sentinel://host:port,host:port/service``; with ``rediss`` for TLS.
        retry_budget: seconds for which a call that Redis does not answer is tried again before
            it raises ``QueueUnavailable``.

    Raises:
        ConfigError: the URL or the client is of no known kind.

    Example:
        >>> import os
        >>> from typed_rmq import Connection, Queue
        >>> with Connection(os.environ["REDIS_URL"]) as connection:
        ...     names = Queue[str]("doc-names", connection)
        ...     ages = Queue[int]("doc-ages", connection)
        ...     names.name, ages.name
        ('doc-names', 'doc-ages')
    """

    def __init__(self, redis: str | Client, *, retry_budget: Duration = 30.0) -> None:
        self.retry_budget: float = seconds(retry_budget, "retry_budget")
        self._made_with = redis
        self._address: Address | None = None
        self._client: Client | None = None
        if isinstance(redis, str):
            try:
                self._address = parse_address(redis)
                takes = takes_options(self._address)
            except ValueError:
                raise bad_url(redis) from None
            if not takes:
                raise bad_option()
        elif isinstance(redis, Client):
            self._client = redis
        else:
            raise ConfigError(
                "redis= takes a URL, a client of redis-py (Redis, RedisCluster, or their asyncio "
                f"twins), or a typed_rmq.Connection; got {type(redis).__name__}"
            )
        self._sync: SyncSource | None = None
        self._cluster: Cluster | None = None
        self._making = threading.Lock()
        self._async_clusters: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncCluster] = (
            weakref.WeakKeyDictionary()
        )
        self._async: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncSource] = (
            weakref.WeakKeyDictionary()
        )
        _connections.add(self)

    def __reduce__(self) -> tuple[object, ...]:
        """For ``Queue.run(processes=...)``: each process has connections of its own."""
        if not isinstance(self._made_with, str):
            raise ConfigError(
                "a Connection that was made with a client cannot go to another process: make it "
                "with a URL"
            )
        return _made_anew, (self._made_with, self.retry_budget)

    def __repr__(self) -> str:
        what = "a URL" if self._address is not None else type(self._client).__name__
        return f"<Connection by {what}>"

    # --- drivers, for the queues

    @property
    def owned(self) -> bool:
        """Whether the connections were made here, from a URL."""
        return self._address is not None

    @property
    def has_sync(self) -> bool:
        """Whether sync calls can be made."""
        return self.owned or isinstance(self._client, redis.Redis | redis.RedisCluster)

    @property
    def _keep(self) -> bool:
        """Whether links keep their connections between calls."""
        # In a Cluster the slot may have moved by the next call.
        return self._address is not None and self._address.kind != "cluster"

    def sync_driver(self, queue: str, key: bytes, tell: Tell) -> SyncDriver:
        """The sync driver of a queue, whose keys all lie in the slot of ``key``."""
        return SyncDriver(
            self._sync_source(key), queue, self.retry_budget, keep=self._keep, tell=tell
        )

    def _sync_source(self, key: bytes) -> SyncSource:
        address, client = self._address, self._client
        # Several threads may come at once: of two pools nobody would close the first.
        with self._making:
            if isinstance(client, redis.RedisCluster):
                return ClusterSource(GivenCluster(client), key)
            if address is not None and address.kind == "cluster":
                if self._cluster is None:
                    self._cluster = OwnedCluster(address)
                return ClusterSource(self._cluster, key)
            if self._sync is None:
                if isinstance(client, redis.Redis):
                    self._sync = PoolSource(client.connection_pool)
                elif address is not None:
                    self._sync = PoolSource(*pool(address))
                else:
                    raise ConfigError(
                        "this queue has an asyncio client, which cannot make sync calls: use async "
                        "for and the methods that begin with a, or give it a URL"
                    )
            return self._sync

    def async_driver(self, queue: str, key: bytes, tell: Tell) -> AsyncDriver:
        """The async driver of a queue, for the running event loop."""
        return AsyncDriver(
            self._async_source(key), queue, self.retry_budget, keep=self._keep, tell=tell
        )

    def _async_source(self, key: bytes) -> AsyncSource:
        address, client, loop = self._address, self._client, asyncio.get_running_loop()
        if isinstance(client, redis.asyncio.RedisCluster):
            return AsyncClusterSource(GivenAsyncCluster(client), key)
        if address is not None and address.kind == "cluster":
            nodes = self._async_clusters.get(loop)
            if nodes is None:
                nodes = self._async_clusters[loop] = OwnedAsyncCluster(address)
            return AsyncClusterSource(nodes, key)
        source = self._async.get(loop)
        if source is None:
            if isinstance(client, redis.asyncio.Redis):
                source = AsyncPoolSource(client.connection_pool)
            elif address is not None:
                source = AsyncPoolSource(*async_pool(address, socket_timeout=None))
            else:
                raise ConfigError(
                    "this queue has a sync client, which cannot be awaited: use a plain for and "
                    "the methods without an a, or give it a URL"
                )
            self._async[loop] = source
        return source

    # --- all queues

    def queue_names(self) -> set[str]:
        """The names of the queues that this Redis holds: see ``typed_rmq.queues``."""
        address = self._address
        if address is not None and address.kind == "cluster":
            nodes = OwnedCluster(address)
            try:
                return list_names(nodes.get, self.retry_budget)
            finally:
                nodes.close()
        if address is not None:
            made, close = pool(address)
            client = redis.Redis(connection_pool=made)
            try:
                return list_names(lambda: client, self.retry_budget)
            finally:
                close()
        if isinstance(self._client, redis.Redis | redis.RedisCluster):
            given = self._client
            return list_names(lambda: given, self.retry_budget)
        raise ConfigError(
            "an asyncio client cannot make sync calls: use aqueues(), or give queues() a URL"
        )

    async def aqueue_names(self) -> set[str]:
        """``queue_names`` for asyncio."""
        address = self._address
        if address is not None and address.kind == "cluster":
            nodes = OwnedAsyncCluster(address)
            try:
                return await alist_names(nodes.get, self.retry_budget)
            finally:
                await nodes.aclose()
        if address is not None:
            made, close = async_pool(address, socket_timeout=CALL_TIMEOUT)
            client = redis.asyncio.Redis(connection_pool=made)
            try:
                return await alist_names(_already(client), self.retry_budget)
            finally:
                await close()
        if isinstance(self._client, redis.asyncio.Redis | redis.asyncio.RedisCluster):
            return await alist_names(_already(self._client), self.retry_budget)
        raise ConfigError("a sync client cannot be awaited: use queues(), or give aqueues() a URL")

    # --- the end

    def close(self) -> None:
        """Close the sync connections made here; a client that you made stays open."""
        source, self._sync = self._sync, None
        if source is not None:
            source.close()
        nodes, self._cluster = self._cluster, None
        if nodes is not None:
            nodes.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop made here, and the sync ones."""
        loop = asyncio.get_running_loop()
        source = self._async.get(loop)
        if source is not None:
            await source.aclose()
            # Only now: a call that was cancelled in the middle can be made again.
            self._async.pop(loop, None)
        nodes = self._async_clusters.get(loop)
        if nodes is not None:
            await nodes.aclose()
            self._async_clusters.pop(loop, None)
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def after_fork(self) -> None:
        """In the child: the parent's connections are not ours. They are forgotten, not closed."""
        self._making = threading.Lock()
        if self.owned:
            self._sync = self._cluster = None
        self._async.clear()
        self._async_clusters.clear()


def _already(
    client: redis.asyncio.Redis | redis.asyncio.RedisCluster,
) -> Callable[[], Awaitable[redis.asyncio.Redis | redis.asyncio.RedisCluster]]:
    async def get() -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
        return client

    return get


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def _made_anew(url: str, retry_budget: float) -> Connection:
    return Connection(url, retry_budget=retry_budget)


def _after_fork() -> None:
    for connection in list(_connections):
        connection.after_fork()


os.register_at_fork(after_in_child=_after_fork)
