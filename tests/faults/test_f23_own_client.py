"""The first connection of a user's own client, on Redis before 7.2: CLIENT SETINFO is refused.

redis-py swallows that error, whose traceback leads to a frame that holds it: a ring, with all the
frames below. The user's loop must not be among them, or it is judged when the garbage collector
comes round (tests/faults/test_f23_garbage.py).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.faults.actors import eventually
from typed_rmq import Queue

RunAsync = Callable[[Coroutine[Any, Any, object]], object]


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("protocol", [2, 3])
def test_f23_an_async_loop_that_made_the_first_connection_is_judged_when_it_is_left(
    numbers: Queue[int], redis_url: str, run_async: RunAsync, no_gc: None, protocol: int
) -> None:
    numbers.publish(1)

    async def main() -> None:
        client = redis.asyncio.Redis.from_url(redis_url, protocol=protocol)
        queue = Queue[int](numbers.name, client)
        async for _ in queue:
            break
        async with asyncio.timeout(3):
            while numbers.stats().completed != 1:
                await asyncio.sleep(0.01)
        await queue.aclose()
        await client.aclose()

    run_async(main())


def test_f23_a_loop_that_made_the_first_connection_is_judged_when_it_is_left(
    numbers: Queue[int], redis_url: str, no_gc: None
) -> None:
    numbers.publish(1)
    with redis.Redis.from_url(redis_url) as client, Queue[int](numbers.name, client) as queue:
        for _ in queue:
            break
        eventually(lambda: numbers.stats().completed == 1, 3)


def test_f20_a_connection_on_its_way_is_given_back_when_its_task_is_cancelled(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    """A pool of one: were a connection left out, nobody could connect any more."""

    async def main() -> None:
        client = redis.asyncio.Redis.from_url(redis_url, max_connections=1)
        queue = Queue[int](queue_name, client, dedup=None)
        for steps in range(12):
            await client.connection_pool.disconnect()
            task = asyncio.create_task(queue.apublish(steps))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.ping()
        await queue.aclose()
        await client.aclose()

    run_async(main())
