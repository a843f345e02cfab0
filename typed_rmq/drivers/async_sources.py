"""Where async connections come from: ``sources.py`` with awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import redis.asyncio
from redis import exceptions
from redis.asyncio import connection as aio_connection

from .clients import AsyncCluster
from .first_use import FirstUse
from .misfit import PROBE_SECONDS, Misfit, listening, of_pool, refused_by_tls

__all__ = ["AsyncClusterSource", "AsyncPoolSource", "AsyncSource"]


class AsyncSource(Protocol):
    """Where connections come from."""

    cluster: bool
    """Whether it can follow a slot to another node."""

    async def acquire(
        self, ask: tuple[str, int] | None = None
    ) -> aio_connection.AbstractConnection: ...

    async def release(self, connection: aio_connection.AbstractConnection) -> None: ...

    async def refresh(self) -> None: ...

    async def misfit(self) -> str | None: ...

    async def aclose(self) -> None: ...


class AsyncPoolSource:
    """One server, or what Sentinel says is the master: the pool knows."""

    cluster = False

    def __init__(
        self,
        pool: redis.asyncio.ConnectionPool,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``close`` is for a pool that was made here; a user's own stays open."""
        self._pool = pool
        self._close = close
        self._closed = False
        self._last: aio_connection.AbstractConnection | None = None
        """The one given back last, which the pool gives away first."""
        self._first_use = FirstUse()

    async def acquire(
        self, ask: tuple[str, int] | None = None
    ) -> aio_connection.AbstractConnection:
        del ask
        connection = await self._connected()
        if not self._first_use.done:
            try:
                await self._first_use.alook(connection)
            except BaseException:
                await connection.disconnect(nowait=True)
                await self._pool.release(connection)
                raise
        return connection

    async def _connected(self) -> aio_connection.AbstractConnection:
        last, self._last = self._last, None
        if self._close is not None or (last is not None and last.is_connected):
            return await self._pool.get_connection()
        # A user's client introduces itself, which Redis before 7.2 refuses. redis-py swallows that
        # error, but it stays in a ring with all the frames below: see `loosened`. So a connection
        # is made in a task of its own, below which there is only the event loop.
        connecting = asyncio.create_task(self._pool.get_connection())
        try:
            return await connecting
        except asyncio.CancelledError:
            if connecting.done() and not connecting.cancelled() and not connecting.exception():
                await self._pool.release(connecting.result())
            raise

    async def release(self, connection: aio_connection.AbstractConnection) -> None:
        await self._pool.release(connection)
        self._last = connection
        if self._closed:  # by a loop that said goodbye after its queue was closed
            await self.aclose()

    async def refresh(self) -> None:
        """Nothing to look up: a new connection asks anew."""

    async def misfit(self) -> str | None:
        """Why no connection can ever be made, if so."""
        port = of_pool(self._pool)
        if port is None:
            return None
        reason = await _ask(port)
        if reason is None and port.tls:
            reason = await self._listen()
        return reason

    async def _listen(self) -> str | None:
        """What the server says of our certificate, if it is not accepted."""
        connection = self._pool.connection_class(**listening(self._pool))
        try:
            await connection.connect()
            await connection.read_response(timeout=PROBE_SECONDS)
        except (exceptions.RedisError, OSError) as error:
            refusal = refused_by_tls(error)
            return refusal and f"the TLS handshake failed: {refusal}. Check the certificates"
        else:
            return None
        finally:
            await connection.disconnect()

    async def aclose(self) -> None:
        if self._close is not None:
            self._closed = True
            await self._close()


async def _ask(port: Misfit) -> str | None:
    writer = None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(*port.address)
            writer.write(port.question())
            return port.reason(await reader.read(16))
    except OSError:  # the timeout is one
        return None
    finally:
        if writer is not None:
            writer.transport.abort()


class AsyncClusterSource:
    """The node that serves a queue's slot. One source serves one queue, as it is one slot."""

    cluster = True

    def __init__(self, nodes: AsyncCluster, key: bytes) -> None:
        self._cluster = nodes
        self._key = key
        self._nodes: dict[aio_connection.AbstractConnection, redis.asyncio.cluster.ClusterNode] = {}
        self._first_use = FirstUse()

    async def acquire(
        self, ask: tuple[str, int] | None = None
    ) -> aio_connection.AbstractConnection:
        client = await self._cluster.get()
        node = client.get_node_from_key(self._key) if ask is None else _node(client, *ask)
        if node is None:
            raise exceptions.ConnectionError("no node of the cluster serves the queue's slot")
        connection = node.acquire_connection()
        try:
            await connection.connect()
            if not self._first_use.done:
                await self._first_use.alook(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            node.release(connection)  # or the node would run out of them
            raise
        self._nodes[connection] = node
        return connection

    async def release(self, connection: aio_connection.AbstractConnection) -> None:
        node = self._nodes.pop(connection, None)
        if node is not None:
            node.release(connection)
        if self._cluster.closed:  # as above
            await connection.disconnect()
            await self._cluster.aclose()

    async def refresh(self) -> None:
        await (await self._cluster.get()).nodes_manager.initialize()

    async def misfit(self) -> str | None:
        """Several nodes: one that does not fit says nothing of the others."""
        return None

    async def aclose(self) -> None:
        await self._cluster.aclose()


def _node(
    client: redis.asyncio.RedisCluster, host: str, port: int
) -> redis.asyncio.cluster.ClusterNode:
    node = client.get_node(host=host, port=port)
    if node is None:
        # A node without a slot of its own is in no list until its first one has arrived.
        manager = client.nodes_manager
        node = redis.asyncio.cluster.ClusterNode(host, port, "primary", **manager.connection_kwargs)
        manager.nodes_cache[node.name] = node
    return node
