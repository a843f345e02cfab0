"""Where sync connections come from: one server, Sentinel's master, or the node of a Cluster."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

import redis
from redis import exceptions

from .clients import Cluster
from .first_use import FirstUse
from .misfit import PROBE_SECONDS, Misfit, listening, of_pool, refused_by_tls

__all__ = ["ClusterSource", "PoolSource", "SyncSource"]


class SyncSource(Protocol):
    """Where connections come from."""

    cluster: bool
    """Whether it can follow a slot to another node."""

    def acquire(
        self, ask: tuple[str, int] | None = None
    ) -> redis.connection.ConnectionInterface: ...

    def release(self, connection: redis.connection.ConnectionInterface) -> None: ...

    def refresh(self) -> None: ...

    def misfit(self) -> str | None: ...

    def close(self) -> None: ...


class PoolSource:
    """One server, or what Sentinel says is the master: the pool knows."""

    cluster = False

    def __init__(self, pool: redis.ConnectionPool, close: Callable[[], None] | None = None) -> None:
        """``close`` is for a pool that was made here; a user's own stays open."""
        self._pool = pool
        self._close = close
        self._closed = False
        self._first_use = FirstUse()

    def acquire(self, ask: tuple[str, int] | None = None) -> redis.connection.ConnectionInterface:
        del ask
        connection = self._pool.get_connection()
        if not self._first_use.done:
            try:
                self._first_use.look(connection)
            except BaseException:
                connection.disconnect()
                self._pool.release(connection)
                raise
        return connection

    def release(self, connection: redis.connection.ConnectionInterface) -> None:
        self._pool.release(connection)
        if self._closed:  # by a loop that said goodbye after its queue was closed
            self.close()

    def refresh(self) -> None:
        """Nothing to look up: a new connection asks anew."""

    def misfit(self) -> str | None:
        """Why no connection can ever be made, if so."""
        port = of_pool(self._pool)
        if port is None:
            return None
        reason = _ask(port)
        if reason is None and port.tls:
            reason = self._listen()
        return reason

    def _listen(self) -> str | None:
        """What the server says of our certificate, if it is not accepted."""
        connection = self._pool.connection_class(**listening(self._pool))
        try:
            connection.connect()
            connection.read_response(timeout=PROBE_SECONDS)
        except (exceptions.RedisError, OSError) as error:
            refusal = refused_by_tls(error)
            return refusal and f"the TLS handshake failed: {refusal}. Check the certificates"
        else:
            return None
        finally:
            connection.disconnect()

    def close(self) -> None:
        if self._close is not None:
            self._closed = True
            self._close()


def _ask(port: Misfit) -> str | None:
    try:
        with socket.create_connection(port.address, PROBE_SECONDS) as probe:
            probe.settimeout(PROBE_SECONDS)
            probe.sendall(port.question())
            return port.reason(probe.recv(16))
    except OSError:
        return None


class ClusterSource:
    """The node that serves a queue's slot. One source serves one queue, as it is one slot."""

    cluster = True

    def __init__(self, nodes: Cluster, key: bytes) -> None:
        self._cluster = nodes
        self._key = key
        self._pools: dict[redis.connection.ConnectionInterface, redis.ConnectionPool] = {}
        self._first_use = FirstUse()

    def acquire(self, ask: tuple[str, int] | None = None) -> redis.connection.ConnectionInterface:
        client = self._cluster.get()
        node = client.get_node_from_key(self._key) if ask is None else _node(client, *ask)
        if node is None:
            raise exceptions.ConnectionError("no node of the cluster serves the queue's slot")
        pool = client.get_redis_connection(node).connection_pool
        connection = pool.get_connection()
        if not self._first_use.done:
            try:
                self._first_use.look(connection)
            except BaseException:
                connection.disconnect()
                pool.release(connection)
                raise
        self._pools[connection] = pool
        return connection

    def release(self, connection: redis.connection.ConnectionInterface) -> None:
        pool = self._pools.pop(connection, None)
        if pool is not None:
            pool.release(connection)
        if self._cluster.closed:  # as above
            connection.disconnect()
            self._cluster.close()

    def refresh(self) -> None:
        self._cluster.get().nodes_manager.initialize()

    def misfit(self) -> str | None:
        """Several nodes: one that does not fit says nothing of the others."""
        return None

    def close(self) -> None:
        self._cluster.close()


def _node(client: redis.RedisCluster, host: str, port: int) -> redis.cluster.ClusterNode:
    node = client.get_node(host=host, port=port)
    if node is None:
        # A node without a slot of its own is in no list until its first one has arrived.
        node = redis.cluster.ClusterNode(host, port, "primary")
        client.nodes_manager.nodes_cache[node.name] = node
    return node
