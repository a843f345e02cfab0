"""``durability=``: a publish returns when replicas or the disk have it, or says that none has."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.conftest import MakeServer
from tests.servers import RunningServer
from typed_rmq import (
    ConfigError,
    DurabilityNotReached,
    Fsync,
    Queue,
    QueueFull,
    Replicas,
    ServerUnsupported,
)
from typed_rmq.drivers.confirming import judge

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]
SOON = Replicas(1, timeout=0.3)
LONG = Replicas(1, timeout=20)


@pytest.fixture(params=["valkey", "redis7"])
def pair(
    request: pytest.FixtureRequest, make_server: MakeServer
) -> Iterator[tuple[RunningServer, RunningServer]]:
    """A master and its replica."""
    kind = request.param
    master = make_server(kind, "--repl-diskless-sync-delay", "0", tcp=True)
    replica = make_server(kind, "--replicaof", f"127.0.0.1 {master.port}", tcp=True)
    deadline = time.monotonic() + 30
    while True:
        with replica.client() as client:
            if client.info("replication")["master_link_status"] == "up":
                break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield master, replica
    replica.signal(signal.SIGCONT)


Pair = tuple[RunningServer, RunningServer]


def test_what_a_replica_has_returns(pair: Pair, run_async: RunAsync) -> None:
    master, replica = pair
    with Queue[int]("safe", master.url, durability=LONG) as queue:
        assert not queue.publish(1).duplicate
        assert len(queue.publish_many([2, 3, 4], batch=2)) == 3
        with replica.client() as client:
            assert client.llen("trmq:{safe}:ready:normal") == 4

        async def asynchronous() -> None:
            assert (await queue.apublish(1)).duplicate
            assert len(await queue.apublish_many([5, 6])) == 2
            await queue.aclose()

        run_async(asynchronous())


def test_a_replica_that_hangs_is_told_and_a_retry_is_safe(pair: Pair, run_async: RunAsync) -> None:
    master, replica = pair
    with Queue[int]("safe", master.url) as queue:
        queue.publish(0, durability=LONG)
        replica.signal(signal.SIGSTOP)
        with pytest.raises(DurabilityNotReached, match="0 of 1 replicas") as raised:
            queue.publish(1, durability=SOON)
        assert raised.value.queue == "safe"
        assert "may be lost" in str(raised.value)
        # The duplicate writes nothing of its own; what it stands for must be covered all the same.
        for _ in range(2):
            with pytest.raises(DurabilityNotReached):
                queue.publish(1, durability=SOON)
        with pytest.raises(DurabilityNotReached):
            queue.publish_many([2, 3], durability=SOON)

        async def asynchronous() -> None:
            with pytest.raises(DurabilityNotReached):
                await queue.apublish(1, durability=SOON)
            await queue.aclose()

        run_async(asynchronous())
        # Without it nothing waits.
        queue.publish(9)
        replica.signal(signal.SIGCONT)
        assert queue.publish(1, durability=LONG).duplicate
        stats = queue.stats()
        assert (stats.ready, stats.published) == (5, 5)


def test_a_cut_link_is_told_and_what_was_told_is_lost(pair: Pair) -> None:
    master, replica = pair
    with Queue[int]("safe", master.url, durability=SOON) as queue:
        queue.publish(1, durability=LONG)
        replica.command("REPLICAOF", "NO", "ONE")  # the link is cut, and it is promoted
        with pytest.raises(DurabilityNotReached):
            queue.publish(2)
    with Queue[int]("safe", replica.url) as promoted:
        assert [one.payload for one in promoted.peek()] == [1]


def test_a_master_that_dies_while_waiting_is_told(pair: Pair) -> None:
    master, replica = pair
    errors: list[BaseException] = []
    with Queue[int]("safe", master.url) as queue:
        queue.publish(0)
        replica.signal(signal.SIGSTOP)

        def publish() -> None:
            try:
                queue.publish(1, durability=LONG)
            except DurabilityNotReached as error:
                errors.append(error)

        thread = threading.Thread(target=publish)
        thread.start()
        deadline = time.monotonic() + 20
        while True:
            with master.client() as client:
                if client.info("clients")["blocked_clients"] == 1:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.01)
        master.signal(signal.SIGKILL)
        thread.join()
    assert len(errors) == 1


def test_a_full_queue_is_told_before_anything_is_waited_for(pair: Pair) -> None:
    master, replica = pair
    with Queue[int]("safe", master.url, max_length=1, durability=SOON) as queue:
        queue.publish(1, durability=LONG)
        replica.signal(signal.SIGSTOP)
        with pytest.raises(QueueFull):
            queue.publish(2)


def test_what_the_disk_has_returns(make_server: MakeServer, run_async: RunAsync) -> None:
    server = make_server("valkey", "--appendonly", "yes")
    with Queue[int]("disk", server.url, durability=Fsync()) as queue:
        queue.publish(1)
        assert queue.publish(1).duplicate
        queue.publish_many([2, 3])

        async def asynchronous() -> None:
            await queue.apublish(4)
            await queue.aclose()

        run_async(asynchronous())
        assert queue.stats().ready == 4


def test_a_server_without_waitaof_is_told(make_server: MakeServer) -> None:
    with Queue[int]("disk", make_server("redis7", "--appendonly", "yes").url) as queue:
        with pytest.raises(ServerUnsupported, match=r"Redis 7\.2.*appendfsync always"):
            queue.publish(1, durability=Fsync())
        assert queue.stats().ready == 1


def test_a_server_without_an_append_only_file_is_told(make_server: MakeServer) -> None:
    with (
        Queue[int]("disk", make_server("valkey").url) as queue,
        pytest.raises(ServerUnsupported, match="appendonly yes"),
    ):
        queue.publish(1, durability=Fsync())


def test_a_late_disk_is_told() -> None:
    judge("q", Fsync(), 1, [1, 0])
    with pytest.raises(DurabilityNotReached, match="the disk did not confirm"):
        judge("q", Fsync(), 1, [0, 0])
    with pytest.raises(DurabilityNotReached, match="traces were gone"):
        judge("q", Replicas(1), 0, 1)


def test_nonsense_is_refused(redis_url: str, queue_name: str) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        Replicas(0)
    with pytest.raises(ConfigError, match="timeout"):
        Fsync(timeout=0)
    with pytest.raises(ConfigError, match="durability="):
        Queue[int](queue_name, redis_url, durability="yes")  # type: ignore[arg-type]  # wrong on purpose
    with Queue[int](queue_name, redis_url) as queue, pytest.raises(ConfigError, match="Replicas"):
        queue.publish(1, durability=3)  # type: ignore[arg-type]  # wrong on purpose
