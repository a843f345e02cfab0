"""F19: a handler that holds the event loop keeps its lease: a thread renews it meanwhile."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis
import redis.asyncio

from typed_rmq import Message, Queue
from typed_rmq.keys import QueueKeys

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]

LEASE = 1.0
HELD = "holds the event loop"


def guards() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "typed_rmq lease guard"]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


async def by_loop(queue: Queue[int], body: Callable[[Message[int]], None]) -> None:
    async for msg in queue.consume(max_messages=1):
        body(msg)


async def by_receive(queue: Queue[int], body: Callable[[Message[int]], None]) -> None:
    msg = await queue.areceive(timeout=10)
    assert msg is not None
    with msg:
        body(msg)
    await msg.asettle()


async def by_worker(queue: Queue[int], body: Callable[[Message[int]], None]) -> None:
    async def handler(msg: Message[int]) -> None:
        body(msg)

    await queue.arun(handler, max_messages=1)


@pytest.mark.parametrize(
    "way",
    [
        by_loop,
        pytest.param(by_receive, marks=pytest.mark.slow),
        pytest.param(by_worker, marks=pytest.mark.slow),
    ],
)
def test_f19_a_handler_that_holds_the_event_loop_keeps_its_lease(
    redis_url: str,
    queue_name: str,
    run_async: RunAsync,
    caplog: pytest.LogCaptureFixture,
    way: Callable[[Queue[int], Callable[[Message[int]], None]], Coroutine[Any, Any, None]],
) -> None:
    def body(msg: Message[int]) -> None:
        # Nothing of asyncio runs meanwhile, and somebody is there who would take the message.
        assert other.receive(timeout=2.2 * LEASE) is None
        assert not msg.lease_lost

    async def run() -> None:
        async with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
            await queue.apublish(1)
            await way(queue, body)

    with Queue[int](queue_name, redis_url, lease=LEASE) as other:
        run_async(run())
        stats = other.stats()
        assert (stats.completed, stats.stale, stats.in_flight) == (1, 0, 0)
        assert other.audit().clean
    assert HELD in caplog.text


@pytest.mark.slow
def test_f19_every_session_of_the_loop_is_kept(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    names = [f"{queue_name}-{number}" for number in range(3)]

    async def run() -> None:
        queues = [Queue[int](name, redis_url, lease=LEASE) for name in names]
        held: list[Message[int]] = []
        for queue in queues:
            await queue.apublish_many([1, 2])
            for _ in range(2):
                msg = await queue.areceive(timeout=10)
                assert msg is not None
                held.append(msg)
        time.sleep(2.2 * LEASE)
        assert not any(msg.lease_lost for msg in held)
        for msg in held:
            msg.ack()
            await msg.asettle()
        for queue in queues:
            assert (await queue.astats()).completed == 2
            await queue.aclose()

    run_async(run())


@pytest.mark.slow
def test_f19_the_thread_is_there_while_a_message_is_in_hand(
    redis_url: str, queue_name: str, run_async: RunAsync, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
            # An idle consumer has none.
            assert await queue.areceive(timeout=0.1) is None
            assert guards() == []
            await queue.apublish_many([1, 2])
            async for msg in queue.consume(max_messages=2):
                assert guards() != []
                # A handler that lets the loop run is kept by the loop itself.
                await asyncio.sleep(1.5 * LEASE)
                assert not msg.lease_lost
            await until(lambda: guards() == [])
            # It comes back with the next message, and ends again, beside a consumer that waits.
            waiting = asyncio.create_task(queue.areceive(timeout=None))
            await asyncio.sleep(0.1)
            assert guards() == []
            await queue.apublish(3)
            last = await waiting
            assert last is not None
            assert guards() != []
            last.ack()
            await last.asettle()
            await until(lambda: guards() == [])

    run_async(run())
    assert HELD not in caplog.text


def test_f19_past_its_handler_timeout_a_lease_is_not_kept(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def run() -> None:
        async with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
            await queue.apublish(1)
            async for msg in queue.consume(max_messages=1, handler_timeout=0.2):
                with msg:
                    theirs = other.receive(timeout=20)
                    assert theirs is not None
                    assert theirs.id == msg.id
                    theirs.ack()
                    theirs.settle()

    with Queue[int](queue_name, redis_url, lease=LEASE) as other:
        run_async(run())
        stats = other.stats()
        assert (stats.completed, stats.in_flight) == (1, 0)


def test_f19_with_a_client_of_ones_own_the_verdict_is_stale(
    redis_url: str, queue_name: str, run_async: RunAsync, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no sync connections, so nothing can renew, and somebody else takes the message."""

    async def run() -> None:
        client = redis.asyncio.Redis.from_url(redis_url)
        async with Queue[int](queue_name, client, lease=LEASE) as queue:
            await queue.apublish(1)
            async for msg in queue.consume(max_messages=1):
                with msg:
                    theirs = other.receive(timeout=20)
                    assert theirs is not None
                    assert theirs.id == msg.id
                    assert msg.lease_lost
                    theirs.ack()
                    theirs.settle()
        await client.aclose()

    with Queue[int](queue_name, redis_url, lease=LEASE) as other:
        run_async(run())
        stats = other.stats()
        assert (stats.completed, stats.stale, stats.in_flight) == (1, 1, 0)
        assert other.audit().clean
    assert "after its lease was lost" in caplog.text


def test_f19_a_lease_that_is_gone_is_not_asked_for_all_the_time(
    redis_url: str, client: redis.Redis, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = QueueKeys(queue_name)
    caplog.set_level(logging.ERROR)
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish(1)
        msg = queue.receive(timeout=10)
        assert msg is not None
        client.delete(keys.sessions)
        deadline = time.monotonic() + 20
        while not msg.lease_lost:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        time.sleep(LEASE)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before < 20
        msg.ack()
