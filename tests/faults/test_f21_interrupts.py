"""F21: KeyboardInterrupt and SystemExit in a handler. Not the message's fault; raised on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.faults.actors import eventually
from tests.faults.conftest import Act
from typed_rmq import Connection, Queue
from typed_rmq.drivers.packing import pack_plain

pytestmark = pytest.mark.servers("valkey")

RunAsync = Callable[[Coroutine[Any, Any, object]], object]

INTERRUPTS = [KeyboardInterrupt, SystemExit]


def _released(queue: Queue[int]) -> None:
    eventually(lambda: queue.stats().consumers == 0)
    stats = queue.stats()
    assert (stats.ready, stats.failed, stats.completed, stats.in_flight) == (3, 0, 0, 0)
    # In the old order, and no attempt was counted.
    assert [(each.payload, each.attempt) for each in queue.peek()] == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("error", INTERRUPTS)
def test_f21_inside_with_the_message_is_released_uncounted(
    numbers: Queue[int], error: type[BaseException]
) -> None:
    numbers.publish_many(range(3))
    with pytest.raises(error):
        for msg in numbers.consume(prefetch=3):
            with msg:
                raise error
    _released(numbers)


@pytest.mark.parametrize("error", INTERRUPTS)
def test_f21_run_releases_and_raises_on(numbers: Queue[int], error: type[BaseException]) -> None:
    def handle(number: int) -> None:
        raise error

    numbers.publish_many(range(3))
    with pytest.raises(error):
        numbers.run(handle, prefetch=3)
    _released(numbers)


def test_f21_run_with_threads_releases_and_raises_on(numbers: Queue[int]) -> None:
    def handle(number: int) -> None:
        raise SystemExit(number)

    numbers.publish_many(range(3))
    with pytest.raises(SystemExit):
        numbers.run(handle, concurrency=3)
    _released(numbers)


def test_f21_received(numbers: Queue[int]) -> None:
    numbers.publish_many(range(3))
    message = numbers.receive(timeout=5)
    assert message is not None
    with pytest.raises(KeyboardInterrupt), message:
        raise KeyboardInterrupt
    message.settle()
    stats = numbers.stats()
    assert (stats.ready, stats.failed, stats.in_flight, stats.released) == (3, 0, 0, 1)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, pytest.param(SystemExit, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("mode", ["with", "arun", "arun in threads", "arun with tasks"])
def test_f21_async_releases_and_raises_on(
    act: Act, numbers: Queue[int], mode: str, error: type[BaseException]
) -> None:
    """In a process of its own: asyncio hands these errors out of run() past everything."""
    numbers.publish_many(range(3))
    actor = act(
        """
        error = KeyboardInterrupt if sys.argv[3] == "KeyboardInterrupt" else SystemExit(7)

        def handle(number: int) -> None:
            raise error

        async def ahandle(number: int) -> None:
            raise error

        async def main():
            queue = Queue[int](NAME, URL)
            try:
                match sys.argv[4]:
                    case "with":
                        async for msg in queue.consume(prefetch=3):
                            with msg:
                                raise error
                    case "arun":
                        await queue.arun(ahandle, prefetch=3)
                    case "arun in threads":
                        await queue.arun(handle, prefetch=3)
                    case "arun with tasks":
                        await queue.arun(ahandle, concurrency=3)
            finally:
                await queue.aclose()

        asyncio.run(main())
        """,
        error.__name__,
        mode,
    )
    assert actor.wait() == (7 if error is SystemExit else -2)
    _released(numbers)


@pytest.mark.parametrize("error", INTERRUPTS)
def test_f21_in_a_bare_loop_it_cannot_be_told_from_an_error_and_counts(
    numbers: Queue[int], error: type[BaseException]
) -> None:
    numbers.publish_many(range(3))
    with pytest.raises(error):
        for _ in numbers.consume(prefetch=3):
            raise error
    eventually(lambda: numbers.stats().consumers == 0)
    stats = numbers.stats()
    assert (stats.completed, stats.failed, stats.in_flight) == (0, 1, 0)
    assert stats.ready + stats.delayed == 3


def test_f21_a_generator_exit_inside_with_is_released(numbers: Queue[int]) -> None:
    def payloads() -> Any:
        for msg in numbers.consume(prefetch=3):
            with msg as number:
                yield number

    numbers.publish_many(range(3))
    generator = payloads()
    assert next(generator) == 0
    generator.close()
    _released(numbers)


def test_f21_a_cancelled_task_inside_with_is_released(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            await queue.apublish_many(range(3))

            async def work() -> None:
                async for msg in queue.consume(prefetch=3):
                    with msg:
                        await asyncio.sleep(60)

            task = asyncio.create_task(work())
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(5):
                while (await queue.astats()).consumers:
                    await asyncio.sleep(0.01)
            stats = await queue.astats()
            assert (stats.ready, stats.failed, stats.in_flight) == (3, 0, 0)
            assert [each.attempt for each in await queue.apeek()] == [1, 1, 1]

    run_async(main())


def test_f21_a_reply_that_an_interrupt_left_unread_is_nobodys(redis_url: str) -> None:
    """Between sending a claim and reading its reply the connection must not be used again."""
    with Connection(redis_url) as connection:
        driver = connection.sync_driver("q", b"trmq:{q}:meta", lambda _: None)
        link, other = driver.link(), driver.link()
        link.send(pack_plain("ECHO", "one"))
        assert link.call(pack_plain("ECHO", "two")) == b"two"
        link.send(pack_plain("ECHO", "three"))
        link.release()
        assert other.call(pack_plain("ECHO", "four")) == b"four"
        other.send(pack_plain("ECHO", "five"))
        assert other.receive() == b"five"
        kept = other.generation
        assert other.call(pack_plain("ECHO", "six")) == b"six"
        assert other.generation == kept, "what was read is no reason for a new connection"
        other.release()
