"""The first call on a server that has no script yet meets NOSCRIPT: its exception must not keep
the iterator alive (tests/faults/test_f23_garbage.py)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis

from tests.faults.actors import eventually
from typed_rmq import Queue

pytestmark = pytest.mark.servers("valkey")
RunAsync = Callable[[Coroutine[Any, Any, object]], object]


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_f23_a_loop_that_met_noscript_is_settled_without_the_garbage_collector(
    client: redis.Redis, numbers: Queue[int], no_gc: None
) -> None:
    numbers.publish(1)
    client.script_flush()
    for _ in numbers:
        break
    eventually(lambda: numbers.stats().completed == 1, 3)


def test_f23_an_async_loop_that_met_noscript_is_settled_without_the_garbage_collector(
    client: redis.Redis, redis_url: str, queue_name: str, run_async: RunAsync, no_gc: None
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url) as queue:
            await queue.apublish(1)
            client.script_flush()
            async for _ in queue:
                break
            async with asyncio.timeout(3):
                while (await queue.astats()).completed != 1:
                    await asyncio.sleep(0.01)

    run_async(main())
