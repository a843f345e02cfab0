"""F21: a KeyboardInterrupt at any line of the library that a loop comes by.

Whatever was cut short: nothing is lost, what was not done is there again at once and uncounted, in
its order, no lock stays taken, and no reply is read by whom it is not for.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import sys
import threading
from collections.abc import Callable

import pytest

from tests.faults.actors import eventually
from typed_rmq import Queue, Retry

from .interrupter import Interrupter, Place

pytestmark = pytest.mark.servers("valkey")

SEED = 21 if os.environ.get("CI") else random.SystemRandom().randrange(10**9)
MESSAGES = 20
PREFETCH = 16  # from so many on, the next batch is claimed while one is handled

Loop = Callable[[Queue[int], "list[int]", Interrupter], None]


def managed(queue: Queue[int], ended: list[int], watch: Interrupter) -> None:
    with watch, queue.consume(prefetch=PREFETCH, until_empty=True) as consumer:
        for msg in consumer:
            with msg as number:
                ended.append(number)


def unmanaged(queue: Queue[int], ended: list[int], watch: Interrupter) -> None:
    with watch:
        # What is in hand counts as failed: how such a loop is left cannot be seen.
        for msg in queue.consume(prefetch=PREFETCH, until_empty=True):
            with msg as number:
                ended.append(number)


def in_asyncio(queue: Queue[int], ended: list[int], watch: Interrupter) -> None:
    async def main() -> None:
        try:
            with watch:
                async with queue.consume(prefetch=PREFETCH, until_empty=True) as consumer:
                    async for msg in consumer:
                        with msg as number:
                            ended.append(number)
        finally:
            sys.settrace(None)
            await queue.aclose()

    asyncio.run(main())


def said_goodbye() -> bool:
    """By the keeper, or by a thread where the event loop is over."""
    names = [thread.name for thread in threading.enumerate()]
    return not any(name.startswith(("typed_rmq keeper", "typed_rmq goodbye")) for name in names)


def interrupt(loop: Loop, queue: Queue[int], place: Place, hit: int) -> bool:
    """One loop over some messages, interrupted there; returns whether it was."""
    before = queue.stats()
    queue.publish_many(range(MESSAGES))
    ended: list[int] = []
    watch = Interrupter(place, hit)
    with contextlib.suppress(KeyboardInterrupt):
        loop(queue, ended, watch)
    sys.settrace(None)
    where = f"{place[0]}:{place[1]}, passing {hit}"

    eventually(said_goodbye, hint=where)
    stats = queue.stats()
    assert (stats.in_flight, stats.consumers) == (0, 0), where
    completed = stats.completed - before.completed
    failed = stats.failed - before.failed
    assert failed <= (loop is unmanaged), where
    assert completed + stats.ready + stats.delayed == MESSAGES, where
    rest: list[int] = []
    for msg in queue.consume(prefetch=PREFETCH, until_empty=True):
        with msg as number:
            failed -= msg.attempt - 1
            rest.append(number)
    assert failed == 0, where
    assert {*ended, *rest} == set(range(MESSAGES)), where
    assert rest == sorted(rest) or loop is unmanaged, where
    assert queue.stats().completed - before.completed == MESSAGES, where
    return watch.raised


def places(loop: Loop, queue: Queue[int]) -> list[tuple[Place, int]]:
    """Every line that the loop comes by, and one of its passings there."""
    watch, ended = Interrupter(), list[int]()
    queue.publish_many(range(MESSAGES))
    loop(queue, ended, watch)
    assert ended == list(range(MESSAGES))
    found = list(watch.seen.items())
    rng = random.Random(SEED)
    rng.shuffle(found)
    return [(place, rng.randint(1, hits)) for place, hits in found]


def sweep(loop: Loop, url: str, name: str, share: int | None) -> None:
    """Interrupt the loop at some of its lines, or at each of them."""
    with Queue[int](name, url, dedup=None, retry=Retry(backoff=0)) as queue:
        found = places(loop, queue)
        assert len(found) > 400
        some = found if share is None else found[:share]
        # The keeper sends acks beside the loop, so that not each line is come by in each run.
        raised = sum(interrupt(loop, queue, *one) for one in some)
        gc.collect()  # here, where the warning about a coroutine is expected
        assert raised > len(some) * 0.6


# asyncio.run() cancels what an interrupt has left undone.
ASYNC = pytest.param(in_asyncio, marks=pytest.mark.leaves("tasks"))
LOOPS = pytest.mark.parametrize("loop", [managed, unmanaged, ASYNC])

# A coroutine that was made, and whose task was not: nobody can do anything about that.
NEVER_AWAITED = pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited")


@LOOPS
@NEVER_AWAITED
def test_f21_an_interrupt_at_some_lines_loses_nothing(
    redis_url: str, queue_name: str, loop: Loop
) -> None:
    sweep(loop, redis_url, queue_name, 20)


@LOOPS
@NEVER_AWAITED
@pytest.mark.slow
def test_f21_an_interrupt_at_any_line_loses_nothing(
    redis_url: str, queue_name: str, loop: Loop
) -> None:
    # Without a context manager nearly all of it is the same: a share of it will do.
    sweep(loop, redis_url, queue_name, 200 if loop is unmanaged else None)
