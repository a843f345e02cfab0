"""Fleets for these tests, each its own where servers are killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from tests.failover.history import History
from tests.fleets import Cluster, Watched

QUICK = {("test_f6_what_is_refused_by_a_former_master_goes_to_the_new_one", "redis6")}
"""Of the other servers the quick run has what only they do: 6.2 wraps READONLY."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        spec = getattr(item, "callspec", None)
        if not isinstance(item, pytest.Function) or spec is None:
            continue
        if "tests/failover" not in item.path.as_posix():
            continue
        kind = spec.params.get("server_kind", "valkey")
        if kind != "valkey" and (item.originalname, kind) not in QUICK:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def cluster(server_kind: str) -> Iterator[Cluster]:
    """Three masters, a replica of the first one, and a node that has nothing yet."""
    cluster = Cluster(server_kind, spare=1)
    yield cluster
    cluster.stop()


@pytest.fixture
def watched(server_kind: str) -> Iterator[Watched]:
    watched = Watched(server_kind)
    yield watched
    watched.stop()


@pytest.fixture
def on_first(cluster: Cluster) -> str:
    """The name of a queue whose slot the master with the replica has."""
    masters = [node for node in cluster.nodes if _role(node) == "master"]
    replicas = [node for node in cluster.nodes if _role(node) == "slave"]
    names = (f"q{number}" for number in range(10_000))
    for name in names:
        owner = cluster.owner(name)
        if any(cluster.follows(replica, owner) for replica in replicas):
            return f"{name}"
    raise AssertionError(masters)


def _role(node: Any) -> str:
    return str(node.command("INFO", "replication")["role"])


@pytest.fixture
def in_cluster(cluster: Cluster) -> Callable[[str], History]:
    host, port = cluster.addresses[1]
    return lambda name: History(
        name,
        lambda: redis.RedisCluster(host=host, port=port),
        lambda: redis.asyncio.RedisCluster(host=host, port=port),
    )


class _Sentinels:
    """Clients by Sentinel, which close what they were made by."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def sync(self) -> Any:
        manager = redis.sentinel.Sentinel(self._watched.addresses, socket_timeout=1)
        client = manager.master_for(self._watched.service)
        close = client.close

        def both() -> None:
            close()
            for one in manager.sentinels:
                one.close()

        client.close = both  # type: ignore[method-assign]  # its Sentinels go with it
        return client

    def aio(self) -> Any:
        manager = redis.asyncio.sentinel.Sentinel(self._watched.addresses, socket_timeout=1)
        client = manager.master_for(self._watched.service)
        close = client.aclose

        async def both() -> None:
            await close()
            await manager.aclose()

        client.aclose = both  # type: ignore[method-assign]  # its Sentinels go with it
        return client


@pytest.fixture
def by_sentinel(watched: Watched) -> Callable[[str], History]:
    clients = _Sentinels(watched)
    return lambda name: History(name, clients.sync, clients.aio)
