"""Shutdown: close, aclose, context managers, and what is left in the process."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis

from tests.conformance.harness import FAST, Mode, Order, ids, orders
from typed_rmq import Connection, Message, Queue


def test_a_queue_is_a_context_manager(mode: Mode) -> None:
    def sync() -> list[int]:
        with Queue[Order](mode.queue_name, mode.url) as queue:
            queue.publish(Order(order_id=1))
            return [msg.payload.order_id for msg in queue.consume(until_empty=True)]

    async def asynchronous() -> list[int]:
        async with Queue[Order](mode.queue_name, mode.url) as queue:
            await queue.apublish(Order(order_id=1))
            return [msg.payload.order_id async for msg in queue.consume(until_empty=True)]

    assert mode.call(sync if mode.name == "sync" else asynchronous) == [1]


def test_close_is_safe_to_call_twice_and_a_closed_queue_opens_again(mode: Mode) -> None:
    rmq = mode.open()
    rmq.close()
    rmq.publish(Order(order_id=1))
    rmq.close()
    rmq.close()
    assert ids(rmq.consume_all()) == [1]


def test_close_sends_what_lingers(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    first, second = rmq.receive(), rmq.receive()
    first.ack()
    second.release()
    rmq.close()
    stats = mode.open().stats()
    assert (stats.completed, stats.released, stats.failed, stats.consumers) == (1, 1, 0, 0)


def test_close_ends_loops_that_wait_in_the_background(mode: Mode) -> None:
    rmq = mode.open()
    jobs = [rmq.later("each") for _ in range(3)]
    mode.until(lambda: rmq.stats().consumers == 3)
    start = time.monotonic()
    rmq.close()
    assert [job.result(3) for job in jobs] == [[], [], []]
    assert time.monotonic() - start < 2
    assert mode.open().stats().consumers == 0


def test_unstarted_messages_go_back_at_once_uncounted(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(10)))
    assert ids(rmq.each(lambda msg: "break", managed=True, prefetch=10)) == [0]
    # Now, not after a lease.
    stats = rmq.stats()
    assert (stats.ready, stats.in_flight, stats.consumers) == (9, 0, 0)
    assert {seen.attempt for seen in rmq.peek(20)} == {1}


def test_a_shared_connection_outlives_its_queues(mode: Mode) -> None:
    connection = Connection(mode.url)
    first = mode.open(redis=connection)
    second = mode.open(int, f"{mode.queue_name}-ages", redis=connection)
    first.publish(Order(order_id=1))
    first.close()
    second.publish(7)
    assert second.consume_all() == [7]
    assert ids(first.consume_all()) == [1]
    second.close()
    first.close()

    async def aclose() -> None:
        await connection.aclose()

    mode.call(connection.close if mode.name == "sync" else aclose)


def test_a_connection_is_a_context_manager(mode: Mode) -> None:
    def sync() -> bool:
        with Connection(mode.url) as connection:
            return Queue[int](mode.queue_name, connection).publish(1).duplicate

    async def asynchronous() -> bool:
        async with Connection(mode.url) as connection:
            queue = Queue[int](mode.queue_name, connection)
            return (await queue.apublish(1)).duplicate

    assert mode.call(sync if mode.name == "sync" else asynchronous) is False


def test_one_queue_object_serves_both_worlds(mode: Mode) -> None:
    import asyncio

    queue = Queue[Order](mode.queue_name, mode.url)

    async def main() -> list[int]:
        await queue.apublish(Order(order_id=2))
        seen = [msg.payload.order_id async for msg in queue.consume(until_empty=True)]
        await queue.aclose()
        return seen

    queue.publish(Order(order_id=1))
    assert asyncio.run(main()) == [1, 2]
    # And in a second event loop.
    queue.publish(Order(order_id=3))
    assert asyncio.run(main()) == [3]
    queue.close()


def test_a_queue_in_many_threads(mode: Mode, client: redis.Redis) -> None:
    if mode.name == "async":
        return
    rmq = mode.open()
    errors: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 20):
                rmq.queue.publish(Order(order_id=number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert rmq.stats().published == 160
    assert len(set(ids(rmq.consume_all()))) == 160


def test_many_tasks_at_once(mode: Mode) -> None:
    if mode.name == "sync":
        return
    rmq = mode.open()
    jobs = [rmq.later("publish", Order(order_id=n)) for n in range(100)]
    assert len({job.result().id for job in jobs}) == 100
    assert sorted(ids(rmq.consume_all())) == list(range(100))


@pytest.mark.parametrize("what", ["publish", "consume", "receive"])
def test_f24_after_a_fork_the_child_starts_clean(mode: Mode, what: str) -> None:
    import os

    rmq = mode.open(retry=FAST)
    rmq.publish_many(orders(1, 2))
    held = rmq.receive()
    queue: Queue[Order] = rmq.queue

    def child_sync() -> Any:
        if what == "publish":
            return queue.publish(Order(order_id=3)).duplicate
        if what == "receive":
            msg = queue.receive()
            assert msg is not None
            assert msg.payload.order_id == 2
            msg.ack()
            msg.settle()
        else:
            assert [m.payload.order_id for m in queue.consume(until_empty=True)] == [2]
        queue.close()
        return False

    if mode.name == "async":
        return  # an event loop is not shared with a child
    held.ack()
    rmq.settle(held)
    mode.until(lambda: threading.active_count() == 1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if child_sync() is False else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    rmq.publish(Order(order_id=4))
    expected = {"publish": [2, 3, 4], "receive": [4], "consume": [4]}[what]
    assert ids(rmq.consume_all()) == expected
    assert (rmq.stats().failed, rmq.stats().stale) == (0, 0)


def test_close_lets_a_loop_finish_the_message_in_hand(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    begun = []

    def body(msg: Message[Order]) -> float:
        begun.append(msg.id)
        return 0.3

    job = rmq.later("each", body, prefetch=3)
    # Claimed is not in hand yet: a loop that is closed between the two hands out nothing.
    mode.until(lambda: begun)
    rmq.close()
    assert ids(job.result(3)) == [1]
    other = mode.open()
    mode.until(lambda: other.stats().consumers == 0)
    stats = other.stats()
    assert (stats.completed, stats.failed, stats.ready) == (1, 0, 2)
