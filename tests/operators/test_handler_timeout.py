"""``handler_timeout``: past it a message is taken from its handler and tried again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from typed_rmq import AlreadySettled, ConfigError, Message, Queue, Retry

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]

SOON = Retry(backoff=0, jitter="none")
ONCE = Retry(max_attempts=1)
LIMIT = 0.15


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_thread_that_hangs_loses_its_message(
    redis_url: str, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[int] = []
    let_go = threading.Event()

    def handle(msg: Message[int]) -> None:
        if msg.attempt == 1:
            assert let_go.wait(20)
            assert not msg.held
            with pytest.raises(AlreadySettled):
                msg.ack()
        handled.append(msg.attempt)

    with Queue[int](queue_name, redis_url, retry=SOON) as queue:
        queue.publish(1)
        worker = threading.Thread(
            target=lambda: queue.run(
                handle,
                concurrency=2,
                handler_timeout=LIMIT,
                stop_on_signals=False,
                idle_timeout=1.0,
            )
        )
        worker.start()
        wait_for(lambda: handled == [2])
        let_go.set()
        worker.join()
        assert handled == [2, 1]
        stats = queue.stats()
        assert (stats.completed, stats.failed, stats.retried, stats.stale) == (1, 1, 1, 0)
        assert queue.audit().clean
    assert "timeout: its handler took longer than 0.15 s, in attempt 1 of 5" in caplog.text


def test_a_coroutine_that_hangs_is_cancelled(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    seen: list[str] = []

    async def handle(msg: Message[int]) -> None:
        try:
            if msg.attempt == 1:
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        seen.append(f"attempt {msg.attempt}")

    async def run() -> None:
        async with Queue[int](queue_name, redis_url, retry=SOON) as queue:
            await queue.apublish(1)
            await queue.arun(handle, handler_timeout=LIMIT, until_empty=True)
            stats = await queue.astats()
            assert (stats.completed, stats.failed, stats.retried) == (1, 1, 1)

    run_async(run())
    assert seen == ["cancelled", "attempt 2"]


def test_a_coroutine_that_will_not_be_cancelled_loses_its_message(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    attempts: list[int] = []

    async def handle(msg: Message[int]) -> None:
        attempts.append(msg.attempt)
        if msg.attempt == 1:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(LIMIT)
                assert not msg.held

    async def run() -> None:
        async with Queue[int](queue_name, redis_url, retry=SOON) as queue:
            await queue.apublish(1)
            await queue.arun(handle, handler_timeout=LIMIT, until_empty=True)
            assert (await queue.astats()).completed == 1

    run_async(run())
    assert attempts == [1, 2]


def test_a_sync_handler_of_arun_loses_its_message(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    attempts: list[int] = []

    def handle(msg: Message[int]) -> None:
        attempts.append(msg.attempt)
        if msg.attempt == 1:
            wait_for(lambda: not msg.held)

    async def run() -> None:
        async with Queue[int](queue_name, redis_url, retry=SOON) as queue:
            await queue.apublish(1)
            await queue.arun(handle, handler_timeout=LIMIT, until_empty=True)
            assert (await queue.astats()).completed == 1

    run_async(run())
    assert attempts == [1, 2]


def test_at_its_last_attempt_it_is_a_dead_letter(redis_url: str, queue_name: str) -> None:
    with Queue[int](queue_name, redis_url, retry=ONCE) as queue:
        queue.publish(1)
        queue.run(
            lambda msg: wait_for(lambda: queue.stats().dead == 1),
            handler_timeout=LIMIT, until_empty=True, stop_on_signals=False,
        )  # fmt: skip
        [letter] = queue.dead
        assert letter.reason == ("timeout: its handler took longer than 0.15 s in attempt 1 of 1")
        assert queue.stats().completed == 0


def test_in_a_loop_the_body_goes_on_and_its_verdict_does_not_count(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    with Queue[int](queue_name, redis_url, retry=ONCE) as queue:
        queue.publish_many([1, 2, 3])
        for msg in queue.consume(handler_timeout=LIMIT, until_empty=True):
            if msg.payload == 1:
                wait_for(lambda held=msg: not held.held)  # type: ignore[misc]  # of this turn
            elif msg.payload == 2:
                with msg:
                    wait_for(lambda held=msg: not held.held)  # type: ignore[misc]  # of this turn
        assert sorted(letter.payload or 0 for letter in queue.dead) == [1, 2]
        assert queue.stats().completed == 1
        queue.purge()
        queue.dead.purge()

        async def loop() -> None:
            await queue.apublish_many([4, 5])
            async for msg in queue.consume(handler_timeout=LIMIT, until_empty=True):
                if msg.payload == 4:
                    while msg.held:
                        await asyncio.sleep(0.01)
            assert [letter.payload async for letter in queue.dead] == [4]
            await queue.aclose()

        run_async(loop())


def test_who_is_in_time_is_left_alone(redis_url: str, queue_name: str) -> None:
    with Queue[int](queue_name, redis_url) as queue:
        queue.publish_many(range(2000))
        with queue.consume(handler_timeout=30, until_empty=True) as consumer:
            session = consumer.sync_session()
            while (msg := session.take()) is not None:
                msg.ack()
            assert len(session.core._since or {}) < 200
        assert queue.stats().completed == 2000


def test_a_timeout_of_its_own_is_a_failure_like_any_other(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def handle(number: int) -> None:
        raise TimeoutError("the shop does not answer")

    async def run() -> None:
        async with Queue[int](queue_name, redis_url, retry=ONCE) as queue:
            await queue.apublish(1)
            await queue.arun(handle, handler_timeout=30, until_empty=True)
            [letter] = [one async for one in queue.dead]
            assert letter.error == "TimeoutError: the shop does not answer"
            assert letter.reason.startswith("its handler raised")

    run_async(run())


def test_no_time_at_all_is_refused(redis_url: str, queue_name: str) -> None:
    with Queue[int](queue_name, redis_url) as queue, pytest.raises(ConfigError, match="more than"):
        queue.consume(handler_timeout=0)
