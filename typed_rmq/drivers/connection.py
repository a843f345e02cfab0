"""Where Redis is: one ``Connection``, shared by as many queues as one likes."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry

from ..errors import ConfigError
from ..retry import Duration, seconds
from .aio import AsyncDriver
from .async_sources import AsyncClusterSource, AsyncPoolSource, AsyncSource
from .failures import bad_url
from .listing import alist_names, list_names
from .sources import ClusterSource, PoolSource, SyncSource
from .sync import SyncDriver

__all__ = ["Client", "Connection"]

Client = redis.Redis | redis.asyncio.Redis | redis.RedisCluster | redis.asyncio.RedisCluster
"""The clients of redis-py; one made by Sentinel is a ``Redis`` too."""

CALL_TIMEOUT: Final = 5.0
CONNECT_TIMEOUT: Final = 5.0

Tell = Callable[[str], None]


class Connection:
    """How queues reach Redis.

    From a URL both kinds of connections are made as they are needed. Queues that share it keep 64
    at most for publishing while nothing is published, however many queues they are; what consumes
    has one or two of its own. A client that you made is used as it is and never closed here; it
    serves only its own kind of loop.

    Args:
        redis: ``redis://``, ``rediss://`` (TLS), or ``unix://`` URL, or a client of redis-py:
            ``Redis``, ``RedisCluster``, or their ``redis.asyncio`` twins.
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
        self._url: str | None = None
        self._client: Client | None = None
        if isinstance(redis, str):
            self._url = redis
            try:
                self._pool()  # only reads the URL: nothing is connected yet
            except ValueError:
                raise bad_url(redis) from None
        elif isinstance(redis, Client):
            self._client = redis
        else:
            raise ConfigError(
                "redis= takes a URL, a client of redis-py (Redis, RedisCluster, or their asyncio "
                f"twins), or a typed_rmq.Connection; got {type(redis).__name__}"
            )
        self._sync: SyncSource | None = None
        self._making = threading.Lock()
        self._async: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncSource] = (
            weakref.WeakKeyDictionary()
        )
        _connections.add(self)

    def __repr__(self) -> str:
        what = "a URL" if self._url is not None else type(self._client).__name__
        return f"<Connection by {what}>"

    # --- drivers, for the queues

    @property
    def owned(self) -> bool:
        """Whether the connections were made here, from a URL."""
        return self._url is not None

    @property
    def has_sync(self) -> bool:
        """Whether sync calls can be made."""
        return self._url is not None or isinstance(self._client, redis.Redis | redis.RedisCluster)

    def sync_driver(self, queue: str, key: bytes, tell: Tell) -> SyncDriver:
        """The sync driver of a queue, whose keys all lie in the slot of ``key``."""
        return SyncDriver(
            self._sync_source(key), queue, self.retry_budget, keep=self.owned, tell=tell
        )

    def _sync_source(self, key: bytes) -> SyncSource:
        if isinstance(self._client, redis.RedisCluster):
            return ClusterSource(self._client, key, owned=False)
        # Several threads may come at once: of two pools nobody would close the first.
        with self._making:
            if self._sync is None:
                if isinstance(self._client, redis.Redis):
                    self._sync = PoolSource(self._client.connection_pool, owned=False)
                elif self._url is not None:
                    self._sync = PoolSource(self._pool(), owned=True)
                else:
                    raise ConfigError(
                        "this queue has an asyncio client, which cannot make sync calls: use async "
                        "for and the methods that begin with a, or give it a URL"
                    )
            return self._sync

    def _pool(self) -> redis.ConnectionPool:
        assert self._url is not None
        return redis.ConnectionPool.from_url(
            self._url,
            socket_timeout=CALL_TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT,
            # A call that fails is repeated by us, with the same operation number.
            retry=RedisRetry(NoBackoff(), 0),
            protocol=2,
            decode_responses=False,
            driver_info=None,
            redis_connect_func=_greet if self._url.startswith("rediss:") else None,
        )

    def async_driver(self, queue: str, key: bytes, tell: Tell) -> AsyncDriver:
        """The async driver of a queue, for the running event loop."""
        return AsyncDriver(
            self._async_source(key), queue, self.retry_budget, keep=self.owned, tell=tell
        )

    def _async_source(self, key: bytes) -> AsyncSource:
        if isinstance(self._client, redis.asyncio.RedisCluster):
            return AsyncClusterSource(self._client, key, owned=False)
        loop = asyncio.get_running_loop()
        source = self._async.get(loop)
        if source is None:
            if isinstance(self._client, redis.asyncio.Redis):
                source = AsyncPoolSource(self._client.connection_pool, owned=False)
            elif self._url is not None:
                source = AsyncPoolSource(self._async_pool(socket_timeout=None), owned=True)
            else:
                raise ConfigError(
                    "this queue has a sync client, which cannot be awaited: use a plain for and "
                    "the methods without an a, or give it a URL"
                )
            self._async[loop] = source
        return source

    def _async_pool(self, *, socket_timeout: float | None) -> redis.asyncio.ConnectionPool:
        assert self._url is not None
        return redis.asyncio.ConnectionPool.from_url(
            self._url,
            socket_timeout=socket_timeout,
            socket_connect_timeout=CONNECT_TIMEOUT,
            retry=_async_retry(),
            protocol=2,
            decode_responses=False,
            # It would cost two calls, and Redis before 7.2 refuses them: an error
            # that keeps the frames of the user's loop alive (see `loosened`).
            driver_info=None,
        )

    # --- all queues

    def queue_names(self) -> set[str]:
        """The names of the queues that this Redis holds: see ``typed_rmq.queues``."""
        if self._url is not None:
            with redis.Redis.from_pool(self._pool()) as client:
                return list_names(client, self.retry_budget)
        if isinstance(self._client, redis.Redis | redis.RedisCluster):
            return list_names(self._client, self.retry_budget)
        raise ConfigError(
            "an asyncio client cannot make sync calls: use aqueues(), or give queues() a URL"
        )

    async def aqueue_names(self) -> set[str]:
        """``queue_names`` for asyncio."""
        if self._url is not None:
            pool = self._async_pool(socket_timeout=CALL_TIMEOUT)
            async with redis.asyncio.Redis.from_pool(pool) as client:
                return await alist_names(client, self.retry_budget)
        if isinstance(self._client, redis.asyncio.Redis | redis.asyncio.RedisCluster):
            return await alist_names(self._client, self.retry_budget)
        raise ConfigError("a sync client cannot be awaited: use queues(), or give aqueues() a URL")

    # --- the end

    def close(self) -> None:
        """Close the sync connections made here; a client that you made stays open."""
        source, self._sync = self._sync, None
        if source is not None:
            source.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop made here, and the sync ones."""
        loop = asyncio.get_running_loop()
        source = self._async.get(loop)
        if source is not None:
            await source.aclose()
            # Only now: a call that was cancelled in the middle can be made again.
            self._async.pop(loop, None)
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
        if self._url is not None:
            self._sync = None
        self._async.clear()


def _greet(connection: redis.connection.ConnectionInterface) -> None:
    """What redis-py does at a connection's begin, and one round trip, for TLS.

    TLS 1.3 sends tickets behind its handshake. redis-py's pool looks for unread data before it
    gives a connection away, takes the tickets for it, and refuses the connection. The reply to a
    PING comes behind them.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    connection.read_response()


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def _after_fork() -> None:
    for connection in list(_connections):
        connection.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _async_retry() -> redis.asyncio.retry.Retry:
    return redis.asyncio.retry.Retry(NoBackoff(), 0)
