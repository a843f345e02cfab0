"""Where sync connections come from: one server, Sentinel's master, or the node of a Cluster."""

from __future__ import annotations

import socket
from typing import Protocol

import redis
from redis import exceptions

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

    def __init__(self, pool: redis.ConnectionPool, *, owned: bool) -> None:
        self._pool = pool
        self._owned = owned
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
            self._pool.disconnect()

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
        if self._owned:
            self._closed = True
            self._pool.disconnect()


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

    def __init__(self, client: redis.RedisCluster, key: bytes, *, owned: bool) -> None:
        self._client = client
        self._key = key
        self._owned = owned
        self._pools: dict[redis.connection.ConnectionInterface, redis.ConnectionPool] = {}
        self._first_use = FirstUse()

    def acquire(self, ask: tuple[str, int] | None = None) -> redis.connection.ConnectionInterface:
        node = self._client.get_node_from_key(self._key) if ask is None else self._node(*ask)
        if node is None:
            raise exceptions.ConnectionError("no node of the cluster serves the queue's slot")
        pool = self._client.get_redis_connection(node).connection_pool
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

    def _node(self, host: str, port: int) -> redis.cluster.ClusterNode:
        node = self._client.get_node(host=host, port=port)
        if node is None:
            # A node without a slot of its own is in no list until its first one has arrived.
            node = redis.cluster.ClusterNode(host, port, "primary")
            self._client.nodes_manager.nodes_cache[node.name] = node
        return node

    def release(self, connection: redis.connection.ConnectionInterface) -> None:
        pool = self._pools.pop(connection, None)
        if pool is not None:
            pool.release(connection)

    def refresh(self) -> None:
        self._client.nodes_manager.initialize()

    def misfit(self) -> str | None:
        """The client has reached its Cluster before: the ports are of the right kind."""
        return None

    def close(self) -> None:
        if self._owned:
            self._client.close()
