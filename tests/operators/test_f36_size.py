"""F36, F37: the cost of a call does not grow with the queue, and an idle queue costs nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor

import redis

from tests.conftest import MakeServer
from typed_rmq import Connection, Queue
from typed_rmq.resting import MAX_RESTING

MANY = 60_000


def calls(client: redis.Redis) -> dict[str, tuple[int, int]]:
    """How often each command was called, and the microseconds that it took in all."""
    stats = client.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): (one["calls"], one["usec"])
        for name, one in stats.items()
        if name not in ("cmdstat_info", "cmdstat_config|resetstat")
    }


def cost(queue: Queue[int], client: redis.Redis, first: int) -> dict[str, tuple[int, int]]:
    """Of twenty publishes and as many claims, acked one by one."""
    client.config_resetstat()
    for number in range(first, first + 10):
        queue.publish(number)
        queue.publish(number + 1_000, delay=7200)
    with queue.consume(prefetch=1, max_messages=10) as consumer:
        for msg in consumer:
            msg.ack()
    return calls(client)


def test_f36_a_call_costs_the_same_in_a_queue_of_many(make_server: MakeServer) -> None:
    server = make_server("valkey")
    with Queue[int]("large", server.url, dedup=None) as queue, server.client() as client:
        cost(queue, client, 0)
        before = cost(queue, client, 0)
        queue.publish_many(range(MANY), batch=1_000)
        queue.publish_many(range(MANY), batch=1_000, delay=3600)
        after = cost(queue, client, 0)
        names = {"time", "lpop", "rpush", "zadd", "lrange", "zrange", "hset", "incr", "hincrby"}
        for name in names & before.keys() & after.keys():
            # Whatever walks through the queue would take thousands of times as long.
            assert after[name][1] <= 20 * before[name][1] + 2_000, name
        scripts = after["evalsha"][1] / after["evalsha"][0]
        assert scripts <= 5 * before["evalsha"][1] / before["evalsha"][0] + 200
        assert after.keys() - before.keys() <= {"lrange", "ltrim", "zrange", "lpush", "exists"}


def test_f37_nothing_runs_for_idle_queues_and_little_is_left(make_server: MakeServer) -> None:
    server = make_server("valkey")
    threads = threading.active_count()
    with Connection(server.url) as connection, server.client() as client:
        queues = [Queue[int](f"idle-{n}", connection, dedup=None) for n in range(500)]
        for queue in queues:
            queue.publish(1)
            message = queue.receive()
            assert message is not None
            message.ack()
            message.settle()
            queue.close()
        deadline = time.monotonic() + 20
        while threading.active_count() > threads:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        before = client.info("stats")["total_commands_processed"]
        time.sleep(0.3)
        # This look itself, and the one before.
        assert client.info("stats")["total_commands_processed"] - before <= 2
        lasting = [key for key in client.scan_iter(count=1000) if client.ttl(key) == -1]
        assert {key.rpartition(b":")[2] for key in lasting} <= {b"stats", b"bell"}
        assert len(lasting) <= 2 * len(queues)


def connections(client: redis.Redis) -> int:
    """But for our own."""
    return client.info("clients")["connected_clients"] - 1


def lanes(client: redis.Redis) -> int:
    return sum(1 for _ in client.scan_iter(match="*:lane:*", count=1000))


def test_f37_many_open_queues_hold_few_connections(make_server: MakeServer) -> None:
    server = make_server("valkey")
    with Connection(server.url) as connection, server.client() as client:
        queues = [Queue[int](f"open-{n}", connection) for n in range(3 * MAX_RESTING)]
        for _ in range(2):
            for queue in queues:
                queue.publish(1)
        assert connections(client) <= MAX_RESTING + 1
        # What gave back its connection goes on in its lane: no key for each turn.
        assert lanes(client) == len(queues)
        for queue in queues:
            queue.close()


def test_f37_many_open_queues_hold_few_connections_of_a_loop(
    make_server: MakeServer, run_async: Callable[[Coroutine[object, object, None]], None]
) -> None:
    server = make_server("valkey")

    async def main() -> None:
        async with Connection(server.url) as connection:
            queues = [Queue[int](f"open-{n}", connection) for n in range(3 * MAX_RESTING)]
            for _ in range(2):
                for queue in queues:
                    await queue.apublish(1)
            assert connections(client) <= MAX_RESTING + 1
            assert lanes(client) == len(queues)
            for queue in queues:
                await queue.aclose()

    with server.client() as client:
        run_async(main())


def test_f37_threads_take_and_give_connections_at_the_same_time(make_server: MakeServer) -> None:
    server = make_server("valkey")
    with Connection(server.url) as connection, server.client() as client:
        queues = [Queue[int](f"busy-{n}", connection) for n in range(2 * MAX_RESTING)]

        def publish(start: int) -> None:
            for turn in range(3):
                for n in range(len(queues)):
                    queues[(start * 17 + n) % len(queues)].publish(1000 * start + turn)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(publish, range(8)))
        assert all(queue.stats().published == 24 for queue in queues)
        # Each that was in use when it was asked stays until it is asked again.
        assert connections(client) <= MAX_RESTING + 2 * 8
        for queue in queues:
            queue.close()
