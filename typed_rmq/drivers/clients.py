"""The pools and clients that a connection makes for itself, from a URL."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import ConfigError
from .address import Address

__all__ = [
    "CALL_TIMEOUT",
    "AsyncCluster",
    "Cluster",
    "GivenAsyncCluster",
    "GivenCluster",
    "OwnedAsyncCluster",
    "OwnedCluster",
    "async_pool",
    "pool",
    "takes_options",
]

CALL_TIMEOUT: Final = 5.0
CONNECT_TIMEOUT: Final = 5.0

_PLAIN: Final[dict[str, Any]] = {
    "socket_connect_timeout": CONNECT_TIMEOUT,
    "protocol": 2,
    "decode_responses": False,
    # It would cost two calls, and Redis before 7.2 refuses them: an error that keeps the frames of
    # the user's loop alive (see `loosened`).
    "driver_info": None,
}


def _once() -> Retry:
    """A call that fails is repeated by us, with the same operation number."""
    return Retry(NoBackoff(), 0)


def _async_once() -> redis.asyncio.retry.Retry:
    return redis.asyncio.retry.Retry(NoBackoff(), 0)


# --- one server, or the master that Sentinels name


def pool(address: Address) -> tuple[redis.ConnectionPool, Callable[[], None]]:
    """A pool, and what closes it."""
    own: dict[str, Any] = {
        **_PLAIN,
        "socket_timeout": CALL_TIMEOUT,
        "retry": _once(),
        "redis_connect_func": _greet if address.tls else None,
    }
    if address.kind == "server":
        made = redis.ConnectionPool.from_url(address.url, **own)
        return made, made.disconnect
    options, theirs = _for_sentinel(address)
    manager = redis.Sentinel(address.hosts, sentinel_kwargs={**theirs, **own})
    watched = redis.SentinelConnectionPool(address.service, manager, **options, **own)

    def close() -> None:
        watched.disconnect()
        manager.close()

    return watched, close


def async_pool(
    address: Address, *, socket_timeout: float | None
) -> tuple[redis.asyncio.ConnectionPool, Callable[[], Awaitable[None]]]:
    """``pool`` for asyncio."""
    own: dict[str, Any] = {**_PLAIN, "socket_timeout": socket_timeout, "retry": _async_once()}
    if address.kind == "server":
        made = redis.asyncio.ConnectionPool.from_url(address.url, **own)
        return made, made.disconnect
    options, theirs = _for_sentinel(address)
    manager = redis.asyncio.sentinel.Sentinel(
        address.hosts, sentinel_kwargs={**theirs, **own, "socket_timeout": CALL_TIMEOUT}
    )
    watched = redis.asyncio.sentinel.SentinelConnectionPool(
        address.service, manager, **options, **own
    )

    async def close() -> None:
        await watched.disconnect()
        await manager.aclose()

    return watched, close


def takes_options(address: Address) -> bool:
    """Whether redis-py takes the URL's options. Nothing is connected yet.

    Raises:
        ValueError: the URL itself is not understood.
    """
    if address.kind == "cluster":
        made = redis.ConnectionPool.from_url(address.url, **_PLAIN)
    else:
        made, _ = pool(address)
    try:
        made.connection_class(**made.connection_kwargs)
    except (TypeError, redis.RedisError):
        return False
    return True


def _for_sentinel(address: Address) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of connections to the master, and to the Sentinels, which have own passwords."""
    options = address.options()
    theirs = {name: value for name, value in options.items() if name.startswith("ssl")}
    for name in ("username", "password"):
        given = options.pop(f"sentinel_{name}", None)
        if given is not None:
            theirs[name] = given
    return options, theirs


def _greet(connection: redis.connection.ConnectionInterface) -> None:
    """What redis-py does at a connection's begin, and one round trip, for TLS."""
    connection.on_connect()
    _ping(connection)


def _ping(connection: redis.connection.ConnectionInterface) -> None:
    """One round trip.

    TLS 1.3 sends tickets behind its handshake. redis-py's pool looks for unread data before it
    gives a connection away, takes the tickets for it, and refuses the connection. The reply to a
    PING comes behind them.
    """
    connection.send_command("PING", check_health=False)
    connection.read_response()


# --- a Cluster


class Cluster(Protocol):
    """Has a Cluster's client; ``closed`` where it was made here and is not to be kept."""

    closed: bool

    def get(self) -> redis.RedisCluster: ...

    def close(self) -> None: ...


class GivenCluster:
    """The client that the user made."""

    closed: bool = False

    def __init__(self, client: redis.RedisCluster) -> None:
        self._client = client

    def get(self) -> redis.RedisCluster:
        return self._client

    def close(self) -> None:
        """It is the user's to close."""


class OwnedCluster:
    """A client that is made when it is first needed, as redis-py connects at once."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._making = threading.Lock()
        self._client: redis.RedisCluster | None = None
        self.closed: bool = False

    def get(self) -> redis.RedisCluster:
        """Raises what redis-py raises; ``ConfigError`` where the server is of no Cluster."""
        with self._making:
            if self._client is None:
                address = self._address
                try:
                    self._client = redis.RedisCluster(
                        startup_nodes=[redis.cluster.ClusterNode(*one) for one in address.hosts],
                        retry=_once(),
                        socket_timeout=CALL_TIMEOUT,
                        redis_connect_func=_ping if address.tls else None,
                        **_PLAIN,
                        **_of_node(address),
                    )
                except redis.RedisClusterException as error:
                    raise _understood(error) from None
            return self._client

    def close(self) -> None:
        self.closed = True
        with self._making:
            client, self._client = self._client, None
        if client is not None:
            client.close()


class AsyncCluster(Protocol):
    """``Cluster`` for asyncio."""

    closed: bool

    async def get(self) -> redis.asyncio.RedisCluster: ...

    async def aclose(self) -> None: ...


class GivenAsyncCluster:
    """The client that the user made."""

    closed: bool = False

    def __init__(self, client: redis.asyncio.RedisCluster) -> None:
        self._client = client

    async def get(self) -> redis.asyncio.RedisCluster:
        await self._client.initialize()
        return self._client

    async def aclose(self) -> None:
        """It is the user's to close."""


class OwnedAsyncCluster:
    """A client of one event loop, made when it is first needed."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client: redis.asyncio.RedisCluster | None = None
        self.closed: bool = False

    async def get(self) -> redis.asyncio.RedisCluster:
        """Raises what redis-py raises; ``ConfigError`` where the server is of no Cluster."""
        address = self._address
        if self._client is None:
            nodes = [redis.asyncio.cluster.ClusterNode(*one) for one in address.hosts]
            self._client = redis.asyncio.RedisCluster(
                startup_nodes=nodes,
                retry=_async_once(),
                socket_timeout=CALL_TIMEOUT,
                **_PLAIN,
                **_of_node(address),
            )
        client = self._client
        try:
            await client.initialize()
        except redis.RedisClusterException as error:
            raise _understood(error) from None
        return client

    async def aclose(self) -> None:
        self.closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _of_node(address: Address) -> dict[str, Any]:
    options = address.options()
    options.pop("db", None)
    return options


def _understood(error: redis.RedisClusterException) -> Exception:
    """The error that was met on the way, which says more than that no node answers."""
    cause = error.__cause__
    if isinstance(cause, redis.AuthenticationError):
        return cause
    if "Cluster mode is not enabled" in str(error):
        return ConfigError(
            "the address begins with redis+cluster, and the server there is of no Cluster: use "
            "redis:// (or rediss:// for TLS)"
        )
    return error
