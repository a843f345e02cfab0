"""F20: a task cancelled at any await. The command may have run; nobody gets another's reply."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest

from tests.faults.proxy import Proxy
from typed_rmq import Connection, Queue, QueueUnavailable
from typed_rmq.scripts import CYCLE, ENQUEUE

pytestmark = pytest.mark.servers("valkey")

RunAsync = Callable[[Coroutine[Any, Any, object]], object]


class _CancelAt:
    """Awaits a call and cancels the task when it waits for the k-th time.

    ``late`` cancels only when what it waits for has come: the reply is there, and unread.
    """

    def __init__(self, call: Coroutine[Any, Any, Any], at: int, *, late: bool) -> None:
        self._call = call
        self._at = at
        self._late = late
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        error: BaseException | None = None
        try:
            while True:
                try:
                    waited = self._call.send(None) if error is None else self._call.throw(error)
                except StopIteration as end:
                    return end.value
                self.waits += 1
                if self.waits == self._at:
                    if self._late and waited is not None:
                        waited.add_done_callback(lambda _: task.cancel())
                    else:
                        task.cancel()
                error = None
                try:
                    yield waited
                except BaseException as thrown:
                    error = thrown
        finally:
            # Its traceback holds this frame, and with it the iterator of the loop.
            del error


class Sweep:
    """``async for cancel in Sweep()``: the same call, cancelled at its first wait, its second, ...

    Ends when a call came through with fewer waits, so that every one has been tried.
    """

    def __init__(self) -> None:
        self.cancelled = 0
        self._plan = [(at, late) for at in range(1, 200) for late in (False, True)]
        self._came_through = 0

    def __iter__(self) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]]:
        for at, late in self._plan:
            if self._came_through >= 2 and not late:
                return
            self._came_through = 0 if not late else self._came_through

            async def cancel(
                call: Coroutine[Any, Any, Any], at: int = at, late: bool = late
            ) -> Any:
                counting = _CancelAt(call, at, late=late)

                async def run() -> Any:
                    return await counting

                task = asyncio.create_task(run())
                try:
                    return await task
                except asyncio.CancelledError:
                    self.cancelled += 1
                    return None
                finally:
                    if counting.waits < at:
                        self._came_through += 1

            yield cancel


async def contents(queue: Queue[int]) -> Counter[int]:
    return Counter(each.payload for each in await queue.apeek(1000) if each.payload is not None)


def test_f20_a_publish_cancelled_at_any_await_stores_once_or_not_at_all(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            sweep = Sweep()
            for turn, cancel in enumerate(sweep):
                await cancel(queue.apublish(1000 + turn))
                # The next caller gets the answer to its own call, not a late one.
                receipt = await queue.apublish(turn)
                ids = {each.payload: each.id for each in await queue.apeek(1000)}
                assert ids[turn] == receipt.id
            assert sweep.cancelled >= 2
            counts = await contents(queue)
            assert all(counts[number] == 1 for number in range(turn + 1))
            assert set(counts.values()) == {1}
            assert (await queue.astats()).published == sum(counts.values())

    run_async(main())


def test_f20_of_many_callers_at_once_each_gets_its_own_reply(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        rng = random.Random(20)
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            tasks = [asyncio.create_task(queue.apublish(number)) for number in range(300)]
            victims = set(rng.sample(range(300), 100))
            for number in sorted(victims, key=lambda _: rng.random()):
                await asyncio.sleep(0)
                tasks[number].cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            ids = {each.payload: each.id for each in await queue.apeek(1000)}
            counts = await contents(queue)
            assert set(counts.values()) <= {1}
            for number, answer in enumerate(answers):
                if isinstance(answer, BaseException):
                    assert isinstance(answer, asyncio.CancelledError)
                    assert number in victims
                else:
                    assert ids[number] == answer.id

    run_async(main())


def test_f20_a_cancelled_receive_loses_nothing(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            await queue.apublish_many(range(100))
            seen: list[int] = []
            sweep = Sweep()
            for cancel in sweep:
                message = await cancel(queue.areceive(timeout=1))
                if message is not None:
                    assert message.attempt == 1
                    seen.append(message.payload)
                    message.ack()
            while (message := await queue.areceive()) is not None:
                assert message.attempt == 1
                seen.append(message.payload)
                message.ack()
            assert sweep.cancelled >= 2
        assert sorted(seen) == list(range(100))
        async with Queue[int](queue_name, redis_url) as queue:
            stats = await queue.astats()
            assert (stats.completed, stats.failed, stats.stale, stats.in_flight) == (100, 0, 0, 0)

    run_async(main())


def test_f20_a_receive_cancelled_while_it_waits_loses_nothing(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with (
            Queue[int](queue_name, redis_url, dedup=None) as queue,
            Queue[int](queue_name, redis_url, dedup=None) as publisher,
        ):
            for turns in range(20):
                waiting = asyncio.create_task(queue.areceive(timeout=None))
                await asyncio.sleep(0.01)
                # The ring, its reply, and the cancellation cross each other.
                await publisher.apublish(turns)
                for _ in range(turns):
                    await asyncio.sleep(0)
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    (await waiting).release()
                message = await queue.areceive(timeout=5)
                assert message is not None
                assert (message.payload, message.attempt) == (turns, 1)
                message.ack()
                await message.asettle()
            assert (await queue.astats()).completed == 20

    run_async(main())


@pytest.mark.parametrize("managed", [True, False])
def test_f20_a_loop_cancelled_at_any_await_loses_nothing(
    redis_url: str, queue_name: str, run_async: RunAsync, *, managed: bool
) -> None:
    started: list[int] = []
    ended: list[int] = []

    async def consume(queue: Queue[int]) -> None:
        async def body(messages: AsyncIterator[Any]) -> None:
            async for msg in messages:
                with msg as number:
                    started.append(number)
                    await asyncio.sleep(0)
                    ended.append(number)

        consumer = queue.consume(prefetch=3)
        if managed:
            async with consumer:
                await body(aiter(consumer))
        else:
            await body(aiter(consumer))

    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            await queue.apublish_many(range(100))
            sweep = Sweep()
            for cancel in sweep:
                if len(started) >= 80:
                    break  # beyond its first batch a loop does the same again and again
                await cancel(consume(queue))
            assert sweep.cancelled >= 10
            rest: list[int] = []
            async for msg in queue.consume(prefetch=10, idle_timeout=0.5):
                with msg as number:
                    # Cancelled inside of `with msg`: released, no attempt counted.
                    assert msg.attempt == 1
                    rest.append(number)
            assert sorted(ended + rest) == list(range(100))
            assert len(started) > len(ended) > 0
        async with Queue[int](queue_name, redis_url) as queue:
            stats = await queue.astats()
            assert (stats.completed, stats.failed, stats.stale, stats.consumers) == (100, 0, 0, 0)

    run_async(main())


def test_f20_a_settle_cancelled_at_any_await_still_reaches_redis(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            sweep, turns = Sweep(), 0
            for cancel in sweep:
                turns += 1
                await queue.apublish(turns)
                message = await queue.areceive(timeout=5)
                assert message is not None
                message.ack()
                await cancel(message.asettle())
                await message.asettle()
            assert sweep.cancelled >= 2
            stats = await queue.astats()
            assert (stats.completed, stats.stale, stats.in_flight) == (turns, 0, 0)

    run_async(main())


def test_f20_a_worker_cancelled_releases_what_it_has(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            await queue.apublish_many(range(20))
            begun = asyncio.Event()

            async def handle(number: int) -> None:
                begun.set()
                await asyncio.sleep(60)

            worker = asyncio.create_task(queue.arun(handle, concurrency=4, prefetch=8))
            await begun.wait()
            await asyncio.sleep(0.05)
            worker.cancel()
            with pytest.raises(asyncio.CancelledError):
                await worker
            stats = await queue.astats()
            assert (stats.ready, stats.in_flight, stats.failed, stats.consumers) == (20, 0, 0, 0)
            assert [each.attempt for each in await queue.apeek(20)] == [1] * 20

    run_async(main())


@pytest.mark.parametrize("when", ["the request is lost", "the reply is lost", "no reply comes"])
def test_f20_cancelled_while_redis_does_not_answer(
    proxy: Proxy, redis_url: str, queue_name: str, run_async: RunAsync, when: str
) -> None:
    def disturb(text: bytes) -> None:
        if when == "the request is lost":
            proxy.lose_request(text, times=1000)
        elif when == "the reply is lost":
            proxy.lose_reply(text, times=1000)
        else:
            proxy.hold_reply(text)

    async def cut(call: Awaitable[object]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.15):
                await call

    async def main() -> None:
        async with Queue[int](queue_name, proxy.url, dedup=None) as queue:
            await queue.apublish(0)
            disturb(ENQUEUE.sha)
            await cut(queue.apublish(1))
            proxy.heal()
            receipt = await queue.apublish(2)
            counts = await contents(queue)
            assert counts[0] == counts[2] == 1
            assert counts[1] <= 1
            ids = {each.payload: each.id for each in await queue.apeek(10)}
            assert ids[2] == receipt.id
            stored = sum(counts.values())
            disturb(CYCLE.sha)
            await cut(queue.areceive(timeout=1))
            proxy.heal()
            seen = []
            while (message := await queue.areceive(timeout=0.2)) is not None:
                assert message.attempt == 1
                seen.append(message.payload)
                message.ack()
            assert Counter(seen) == counts
            stats = await queue.astats()
            assert stats.published == stored

    run_async(main())


def test_f20_the_budget_is_not_outlived_by_a_cancelled_call(
    proxy: Proxy, queue_name: str, run_async: RunAsync
) -> None:
    """A cancelled call is over: nothing of it goes on in the background."""

    async def main() -> None:
        connection = Connection(proxy.url, retry_budget=20)
        async with connection, Queue[int](queue_name, connection) as queue:
            await queue.apublish(0)
            proxy.lose_request(ENQUEUE.sha, times=1000)
            with contextlib.suppress(TimeoutError, QueueUnavailable):
                async with asyncio.timeout(0.3):
                    await queue.apublish(1)
            sent = proxy.count(ENQUEUE.sha)
            await asyncio.sleep(0.5)
            assert proxy.count(ENQUEUE.sha) == sent
            assert len(asyncio.all_tasks()) == 1
            proxy.heal()
            await queue.apublish(2)

    run_async(main())


def test_f20_a_close_cancelled_at_any_await_can_be_called_again(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        sweep, turns = Sweep(), 0
        for cancel in sweep:
            turns += 1
            queue = Queue[int](queue_name, redis_url, dedup=None)
            await queue.apublish(turns)
            iterator = aiter(queue.consume())
            message = await anext(iterator)
            message.ack()
            del message, iterator
            await cancel(queue.aclose())
            await queue.aclose()
            await asyncio.sleep(0.01)
        assert sweep.cancelled >= 2
        async with Queue[int](queue_name, redis_url) as queue:
            async with asyncio.timeout(10):
                while (stats := await queue.astats()).consumers or stats.completed < turns:
                    await asyncio.sleep(0.01)
            assert (stats.failed, stats.stale, stats.in_flight, stats.ready) == (0, 0, 0, 0)

    run_async(main())
