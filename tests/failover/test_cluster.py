"""Redis Cluster: slots that move under load, promotions, a cluster that is down (F9, F10, F11)."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.failover.history import History, load
from tests.fleets import Cluster, until
from typed_rmq import ConfigError, Connection, Queue, QueueUnavailable

InCluster = Callable[[str], History]


def _client(cluster: Cluster, **options: Any) -> redis.RedisCluster:
    host, port = cluster.addresses[1]
    return redis.RedisCluster(host=host, port=port, **options)


def test_f11_every_key_of_a_queue_is_in_one_slot(cluster: Cluster, queue_name: str) -> None:
    with _client(cluster) as client, Queue[int](queue_name, client, keep_done=5) as queue:
        queue.publish_many(range(6))
        queue.publish(7, delay=60)
        queue.publish(8, priority="high")
        for msg in queue.consume(max_messages=3):
            msg.reject("no") if msg.payload == 8 else msg.ack()
        held = queue.receive()
        assert held is not None
        queue.pause()
        keys = [key for key in cluster.keys() if queue_name in key]  # noqa: SIM118
        assert len(keys) > 8
        slots = {cluster.nodes[0].command("CLUSTER", "KEYSLOT", key) for key in keys}
        assert slots == {cluster.slot(queue_name)}
        held.ack()
        held.settle()
        queue.resume()
        queue.purge()


def test_f9_a_node_of_a_cluster_is_no_address(
    cluster: Cluster, queue_name: str, run_async: Any
) -> None:
    other = next(node for node in cluster.nodes if node is not cluster.owner(queue_name))

    async def main() -> None:
        async with Queue[int](queue_name, other.url) as queue:
            await queue.apublish(1)

    with Queue[int](queue_name, other.url) as queue:
        for call in (lambda: queue.publish(1), lambda: run_async(main())):
            with pytest.raises(ConfigError, match="RedisCluster"):
                call()


@pytest.mark.servers("valkey", "redis7")  # on 6.2 a node without slots becomes a replica
@pytest.mark.parametrize("way", ["sync", "async"])
def test_f9_moved_and_ask_are_followed(cluster: Cluster, queue_name: str, way: str) -> None:
    """A slot moves to a node that no client knows yet, and back; in between, its calls wait."""
    host, port = cluster.addresses[1]
    slot, source, target = cluster.slot(queue_name), cluster.owner(queue_name), cluster.spare()

    def move() -> None:
        time.sleep(0.3)
        cluster.move_keys(slot, source, target)
        cluster.end_move(slot, source, target)

    def checked(publish: Callable[[int], None], stats: Callable[[], Any]) -> None:
        publish(1)
        cluster.begin_move(slot, source, target)
        mover = threading.Thread(target=move)
        mover.start()
        publish(2)
        mover.join()
        assert cluster.owner(queue_name) is target
        publish(3)
        cluster.move(slot, target, source)
        publish(4)
        assert (stats().published, stats().ready) == (4, 4)

    if way == "sync":
        with _client(cluster) as client, Queue[int](queue_name, client) as queue:
            checked(lambda number: queue.publish(number) and None, queue.stats)
            assert [msg.payload for msg in queue.consume(until_empty=True)] == [1, 2, 3, 4]
    else:
        client = redis.asyncio.RedisCluster(host=host, port=port)
        queue = Queue[int](queue_name, client)
        with asyncio.Runner() as runner:
            checked(
                lambda number: runner.run(queue.apublish(number)) and None,
                lambda: runner.run(queue.astats()),
            )

            async def rest() -> list[int]:
                seen = [msg.payload async for msg in queue.consume(until_empty=True)]
                await queue.aclose()
                await client.aclose()
                return seen

            assert runner.run(rest()) == [1, 2, 3, 4]


@pytest.mark.servers("valkey", "redis7")
def test_f9_a_call_is_asked_of_a_node_that_no_client_knows(
    cluster: Cluster, queue_name: str
) -> None:
    """A slot without a key of the queue: each call is sent on to where it goes, once."""
    slot, source, target = cluster.slot(queue_name), cluster.owner(queue_name), cluster.spare()
    with _client(cluster) as client, Connection(client, retry_budget=0.5) as connection:
        queue = Queue[int](queue_name, connection)
        target.command("CONFIG", "RESETSTAT")
        cluster.begin_move(slot, source, target)
        try:
            # There it has none of its keys either, which for several of them means TRYAGAIN.
            with pytest.raises(QueueUnavailable, match=r"Multiple keys|ASK \d+"):
                queue.publish(1)
            calls = target.command("INFO", "commandstats")
            assert isinstance(calls, dict)
            assert int(calls["cmdstat_asking"]["calls"]) > 0
        finally:
            for node in (target, source):
                node.command("CLUSTER", "SETSLOT", slot, "STABLE")
        queue.publish(1)
        assert queue.purge() == 1
        queue.close()


@pytest.mark.slow
@pytest.mark.servers("valkey", "redis6")
def test_f9_slots_move_under_load(cluster: Cluster, in_cluster: InCluster, queue_name: str) -> None:
    slot, source = cluster.slot(queue_name), cluster.owner(queue_name)
    target = cluster.another(source)
    with load(in_cluster(queue_name)) as history:
        for one, other in ((source, target), (target, source)):
            cluster.begin_move(slot, one, other)
            time.sleep(0.2)
            cluster.move_keys(slot, one, other)
            cluster.end_move(slot, one, other)
            history.wait_for()
    history.check_lossless()


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_f9_slots_move_as_a_whole_under_load(
    cluster: Cluster, in_cluster: InCluster, queue_name: str
) -> None:
    """Valkey 9 moves a slot's keys by replication, and hands it over in one step."""
    slot, source = cluster.slot(queue_name), cluster.owner(queue_name)
    target = cluster.another(source)
    with load(in_cluster(queue_name)) as history:
        for one, other in ((source, target), (target, source)):
            there = cluster.id_of(other)
            one.command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", there)
            until(lambda other=other: cluster.owner(queue_name) is other, "the slot has moved")
            history.wait_for()
    history.check_lossless()


@pytest.mark.slow
@pytest.mark.servers("valkey", "redis7")
def test_f6_a_planned_failover_loses_nothing(
    cluster: Cluster, in_cluster: InCluster, on_first: str
) -> None:
    master = cluster.owner(on_first)
    replica = cluster.replica_of(master)
    with load(in_cluster(on_first)) as history:
        replica.command("CLUSTER", "FAILOVER")
        until(lambda: cluster.owner(on_first) is replica, "the replica is promoted")
    cluster.settled()
    history.check_lossless()


@pytest.mark.slow
def test_f6_a_killed_master_is_replaced(
    cluster: Cluster, in_cluster: InCluster, on_first: str
) -> None:
    master = cluster.owner(on_first)
    replica = cluster.replica_of(master)
    with load(in_cluster(on_first)) as history:
        began = time.monotonic()
        master.signal(signal.SIGKILL)
        until(lambda: cluster.owner(on_first) is replica, "the replica is promoted")
        ended = time.monotonic()
    cluster.restart(master)
    history.check_explained(began, ended)


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_f6_a_killed_master_is_replaced_where_the_cluster_is_named_by_a_url(
    cluster: Cluster, on_first: str
) -> None:
    hosts = ",".join(f"{host}:{port}" for host, port in cluster.addresses)
    master = cluster.owner(on_first)
    replica = cluster.replica_of(master)
    with load(History(on_first, *(lambda: f"redis+cluster://{hosts}",) * 2)) as history:
        began = time.monotonic()
        master.signal(signal.SIGKILL)
        until(lambda: cluster.owner(on_first) is replica, "the replica is promoted")
        ended = time.monotonic()
    cluster.restart(master)
    history.check_explained(began, ended)


@pytest.mark.slow
@pytest.mark.servers("valkey", "redis6")
@pytest.mark.parametrize("way", ["sync", "async"])
def test_f10_a_cluster_that_is_down_is_waited_for(
    cluster: Cluster, queue_name: str, run_async: Any, way: str
) -> None:
    """A master without a replica dies: no node answers for any slot, until it is back."""
    owner = cluster.owner(queue_name)
    lonely = next(
        node
        for node in cluster.nodes[1:3]  # these have no replica
        if node is not owner
    )
    host, port = "127.0.0.1", owner.port or 0

    def down() -> None:
        lonely.signal(signal.SIGKILL)
        until(lambda: b"cluster_state:fail" in owner.command("CLUSTER", "INFO"), "it is down")  # type: ignore[operator]  # bytes

    back = threading.Timer(1.0, cluster.restart, (lonely,))
    if way == "sync":
        with redis.RedisCluster(host=host, port=port) as client:
            hasty = Queue[int](queue_name, Connection(client, retry_budget=0.5))
            queue = Queue[int](queue_name, client, dedup=None)
            queue.publish(1)
            down()
            with pytest.raises(QueueUnavailable, match=r"(?i)cluster"):
                hasty.publish(2)
            back.start()
            queue.publish(3)
            assert [msg.payload for msg in queue.consume(until_empty=True)] == [1, 3]
            hasty.close()
            queue.close()
    else:

        async def main() -> None:
            client = redis.asyncio.RedisCluster(host=host, port=port)
            hasty = Queue[int](queue_name, Connection(client, retry_budget=0.5))
            queue = Queue[int](queue_name, client, dedup=None)
            await queue.apublish(1)
            down()
            with pytest.raises(QueueUnavailable, match=r"(?i)cluster"):
                await hasty.apublish(2)
            back.start()
            await queue.apublish(3)
            assert [msg.payload async for msg in queue.consume(until_empty=True)] == [1, 3]
            await hasty.aclose()
            await queue.aclose()
            await client.aclose()

        run_async(main())
    back.join()


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_f10_no_node_at_all_is_unavailable(queue_name: str, run_async: Any) -> None:
    """Of redis-py it is an error outside of its own tree."""
    cluster = Cluster("valkey", replicas=0)
    try:
        host, port = cluster.addresses[0]
        with redis.RedisCluster(host=host, port=port) as client:
            queue = Queue[int](queue_name, Connection(client, retry_budget=0.5))
            queue.publish(1)

            async def main() -> None:
                other = redis.asyncio.RedisCluster(host=host, port=port)
                mine = Queue[int](queue_name, Connection(other, retry_budget=0.5))
                with pytest.raises(QueueUnavailable):
                    await mine.apublish(2)
                await mine.aclose()
                await other.aclose()

            for node in cluster.nodes:
                node.stop()
            with pytest.raises(QueueUnavailable):
                queue.publish(2)
            run_async(main())
            queue.close()
            by_url = Connection(f"redis+cluster://{host}:{port}", retry_budget=0.5)
            with by_url, pytest.raises(QueueUnavailable):
                Queue[int](queue_name, by_url).publish(3)
    finally:
        cluster.stop()
