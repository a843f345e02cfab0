"""F23: iterators, consumers, and queues that are garbage collected. No network in ``__del__``."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.conftest import MakeServer
from tests.faults.actors import eventually
from typed_rmq import Queue, Retry

pytestmark = pytest.mark.servers("valkey")

RunAsync = Callable[[Coroutine[Any, Any, object]], object]


def _failed(queue: Queue[int], completed: int = 0) -> None:
    eventually(lambda: queue.stats().consumers == 0)
    stats = queue.stats()
    assert (stats.completed, stats.failed, stats.in_flight) == (completed, 1, 0)


def test_f23_dropping_an_iterator_does_not_touch_the_network(make_server: MakeServer) -> None:
    server = make_server("valkey", tcp=True)
    with Queue[int]("q", server.url) as queue:
        queue.publish_many(range(3))
        iterator = iter(queue.consume(prefetch=3))
        assert next(iterator).payload == 0
        server.signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            del iterator
            took = time.monotonic() - started
        finally:
            server.signal(signal.SIGCONT)
        assert took < 0.5
        _failed(queue)
        assert queue.stats().ready + queue.stats().delayed == 3


def test_f23_dropping_a_received_message_does_not_touch_the_network(
    make_server: MakeServer,
) -> None:
    server = make_server("valkey", tcp=True)
    with Queue[int]("q", server.url) as queue:
        queue.publish(1)
        message = queue.receive(timeout=5)
        server.signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            del message
            took = time.monotonic() - started
        finally:
            server.signal(signal.SIGCONT)
        assert took < 0.5
        eventually(lambda: queue.stats().failed == 1)


def test_f23_dropping_an_async_iterator_does_not_touch_the_network(
    make_server: MakeServer, run_async: RunAsync
) -> None:
    server = make_server("valkey", tcp=True)

    async def main() -> None:
        async with Queue[int]("q", server.url) as queue:
            async with Queue[int]("other", server.url) as other:
                assert await other.areceive() is None  # the server knows the scripts from here on
            await queue.apublish_many(range(3))
            iterator = aiter(queue.consume(prefetch=3))
            assert (await anext(iterator)).payload == 0
            server.signal(signal.SIGSTOP)
            try:
                started = time.monotonic()
                del iterator
                took = time.monotonic() - started
                await asyncio.sleep(0.1)
            finally:
                server.signal(signal.SIGCONT)
            assert took < 0.5
            await asyncio.to_thread(_failed, queue)

    run_async(main())


def test_f23_an_iterator_in_a_cycle_fails_when_it_is_collected(numbers: Queue[int]) -> None:
    numbers.publish(1)
    cycle: list[Any] = [iter(numbers.consume())]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    assert numbers.stats().in_flight == 1
    gc.collect()
    _failed(numbers)


def test_f23_an_iterator_collected_in_another_thread_fails(numbers: Queue[int]) -> None:
    numbers.publish(1)
    cycle: list[Any] = [iter(numbers.consume())]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()
    _failed(numbers)
    assert signal.getsignal(signal.SIGTERM) is not None


def test_f23_an_async_iterator_collected_in_another_thread_fails(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            await queue.apublish(1)
            cycle: list[Any] = [aiter(queue.consume())]
            cycle.append(cycle)
            await anext(cycle[0])
            del cycle
            await asyncio.to_thread(gc.collect)
            await asyncio.to_thread(_failed, queue)

    run_async(main())


def test_f23_a_queue_that_only_its_loop_holds_works_to_the_end(
    redis_url: str, queue_name: str, numbers: Queue[int]
) -> None:
    numbers.publish_many(range(50))
    seen = []
    for msg in Queue[int](queue_name, redis_url).consume(until_empty=True, prefetch=7):
        if msg.payload % 10 == 0:
            gc.collect()
        seen.append(msg.payload)
    assert seen == list(range(50))
    assert numbers.stats().completed == 50
    gc.collect()


def test_f23_a_message_outlives_its_queue(
    redis_url: str, queue_name: str, numbers: Queue[int]
) -> None:
    numbers.publish(1)
    message = Queue[int](queue_name, redis_url).receive(timeout=5)
    gc.collect()
    assert message is not None
    assert message.queue == queue_name
    message.ack()
    message.settle()
    assert numbers.stats().completed == 1
    del message
    gc.collect()


def test_f23_an_async_queue_that_only_its_loop_holds_works_to_the_end(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            await queue.apublish_many(range(50))
            seen = []
            async for msg in queue.consume(until_empty=True, prefetch=7):
                if msg.payload % 10 == 0:
                    gc.collect()
                seen.append(msg.payload)
            assert seen == list(range(50))
            assert (await queue.astats()).completed == 50

    run_async(main())


def test_f23_the_queue_is_free_after_its_loops(redis_url: str, queue_name: str) -> None:
    with Queue[int](queue_name, redis_url) as queue:
        queue.publish(1)
        for _ in queue.consume(until_empty=True):
            pass
    gone = weakref.ref(queue)
    del queue
    gc.collect()
    assert gone() is None


def test_f23_memory_does_not_grow_with_loops_that_were_left(numbers: Queue[int]) -> None:
    def sessions() -> int:
        gc.collect()
        return sum(type(one).__name__ == "SyncSession" for one in gc.get_objects())

    before = sessions()
    for number in range(30):
        numbers.publish(number)
        for msg in numbers.consume():
            del msg  # a message holds its session
            break
    eventually(lambda: numbers.stats().consumers == 0)
    eventually(lambda: sessions() <= before)
    assert numbers.stats().completed == 30


def test_f23_a_dropped_message_is_retried_by_policy(redis_url: str, queue_name: str) -> None:
    with Queue[int](queue_name, redis_url, retry=Retry(max_attempts=1)) as queue:
        queue.publish(1)
        assert queue.receive(timeout=5) is not None
        eventually(lambda: queue.stats().dead == 1)
        (letter,) = queue.dead
        assert "without a verdict" in letter.reason


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_f23_a_queue_is_used_again_in_another_event_loop(redis_url: str, queue_name: str) -> None:
    queue = Queue[int](queue_name, redis_url, dedup=None)

    async def first() -> None:
        await queue.apublish(1)
        message = await queue.areceive(timeout=5)
        assert message is not None
        message.ack()
        await message.asettle()

    async def second() -> None:
        await queue.apublish(2)
        async for _ in queue.consume(until_empty=True):
            pass
        assert (await queue.astats()).completed == 2
        await queue.aclose()

    asyncio.run(first())
    asyncio.run(second())
