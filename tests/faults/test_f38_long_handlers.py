"""F38: a handler, or a batch behind it, that takes longer than the lease."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.faults.actors import eventually
from typed_rmq import Message, Queue

pytestmark = pytest.mark.servers("valkey")

LEASE = 0.6
LONG = 1.2
"""Seconds: two leases."""

RunAsync = Callable[[Coroutine[Any, Any, object]], object]


def _other_gets_nothing(url: str, name: str, stop: threading.Event, found: list[object]) -> None:
    with Queue[int](name, url, lease=LEASE) as other:
        while not stop.is_set():
            message = other.receive(timeout=0.1)
            if message is not None:
                found.append(message.payload)
                message.release()


@pytest.fixture
def rival(redis_url: str, queue_name: str) -> Any:
    """Another consumer, that takes whatever it can get as soon as it can."""
    stop = threading.Event()
    found: list[object] = []
    thread = threading.Thread(target=_other_gets_nothing, args=(redis_url, queue_name, stop, found))

    class Rival:
        got = found

        def start(self) -> None:
            thread.start()

        def end(self) -> None:
            stop.set()
            if thread.is_alive():
                thread.join()

    rival = Rival()
    yield rival
    rival.end()


def _kept(queue: Queue[int], rival: Any) -> None:
    rival.end()
    assert rival.got == []
    eventually(lambda: queue.stats().completed == 1)
    stats = queue.stats()
    assert (stats.failed, stats.released, stats.stale, stats.in_flight) == (0, 0, 0, 0)


def test_f38_a_long_handler_keeps_its_message(redis_url: str, queue_name: str, rival: Any) -> None:
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish(1)
        for msg in queue.consume(max_messages=1):
            rival.start()
            time.sleep(LONG)
            assert msg.attempt == 1
            assert not msg.lease_lost
        _kept(queue, rival)


def test_f38_a_long_async_handler_keeps_its_message(
    redis_url: str, queue_name: str, rival: Any, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
            await queue.apublish(1)
            async for msg in queue.consume(max_messages=1):
                rival.start()
                await asyncio.sleep(LONG)
                assert not msg.lease_lost
            await asyncio.to_thread(rival.end)
            assert rival.got == []
            stats = await queue.astats()
            assert (stats.completed, stats.failed, stats.stale) == (1, 0, 0)

    run_async(main())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["run", "arun", "arun in a thread"])
def test_f38_a_workers_long_handler_keeps_its_message(
    redis_url: str, queue_name: str, rival: Any, run_async: RunAsync, mode: str
) -> None:
    def slow(msg: Message[int]) -> None:
        rival.start()
        time.sleep(LONG)

    async def aslow(msg: Message[int]) -> None:
        rival.start()
        await asyncio.sleep(LONG)

    async def main(queue: Queue[int]) -> None:
        await queue.arun(slow if mode.endswith("thread") else aslow, max_messages=1)
        await queue.aclose()

    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish(1)
        if mode == "run":
            queue.run(slow, max_messages=1)
        else:
            run_async(main(Queue[int](queue_name, redis_url, lease=LEASE)))
        _kept(queue, rival)


def test_f38_a_received_message_is_kept_while_it_is_in_hand(
    redis_url: str, queue_name: str, rival: Any
) -> None:
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish(1)
        message = queue.receive(timeout=5)
        assert message is not None
        rival.start()
        time.sleep(LONG)
        message.ack()
        message.settle()
        _kept(queue, rival)


def test_f38_a_batch_stuck_behind_a_slow_message_goes_to_others(
    redis_url: str, queue_name: str
) -> None:
    with Queue[int](queue_name, redis_url) as slow, Queue[int](queue_name, redis_url) as other:
        slow.publish_many(range(10))
        taken: list[int] = []
        started = 0.0
        for msg in slow.consume(prefetch=10):
            assert msg.payload == 0
            assert slow.stats().in_flight == 10
            started = time.monotonic()
            for theirs in other.consume(max_messages=9, idle_timeout=10):
                with theirs as number:
                    assert theirs.attempt == 1
                    taken.append(number)
            assert time.monotonic() - started < 5
            break
        assert taken == list(range(1, 10))
        eventually(lambda: slow.stats().completed == 10)
        stats = slow.stats()
        assert (stats.released, stats.failed, stats.stale) == (9, 0, 0)


def test_f38_an_async_batch_stuck_behind_a_slow_message_goes_to_others(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with (
            Queue[int](queue_name, redis_url) as slow,
            Queue[int](queue_name, redis_url) as other,
        ):
            await slow.apublish_many(range(10))
            taken: list[int] = []
            async for msg in slow.consume(prefetch=10):
                assert msg.payload == 0
                async with asyncio.timeout(5):
                    async for theirs in other.consume(max_messages=9):
                        taken.append(theirs.payload)
                break
            assert taken == list(range(1, 10))
        async with Queue[int](queue_name, redis_url) as queue:
            stats = await queue.astats()
            assert (stats.completed, stats.released, stats.failed, stats.stale) == (10, 9, 0, 0)

    run_async(main())
