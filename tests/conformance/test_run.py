"""Workers: run and arun."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from functools import partial
from typing import Any

import pytest

from tests.conformance.harness import FAST, ONCE, BrokenError, Mode, Order, broken, ids, orders
from typed_rmq import ConfigError, Message, Queue


def test_a_handler_gets_the_payload(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    seen: list[Order] = []

    def handle(order: Order) -> None:
        seen.append(order)

    rmq.run(handle, until_empty=True)
    assert seen == orders(1, 2, 3)
    assert rmq.stats().completed == 3


class Handler:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def payload(self, order: Order) -> None:
        self.seen.append(order)

    def message(self, job: Message[Order]) -> None:
        self.seen.append(job)

    def named(self, msg) -> None:  # type: ignore[no-untyped-def]  # its name decides
        self.seen.append(msg)

    def __call__(self, anything: Message[Order]) -> None:
        self.seen.append(anything)


@pytest.mark.parametrize(
    ("handler", "wants"),
    [
        ("payload", Order),
        ("message", Message),
        ("named", Message),
        ("__call__", Message),
        ("lambda order", Order),
        ("lambda msg", Message),
        ("lambda message", Message),
        ("partial", Message),
    ],
)
def test_a_handler_says_what_it_wants(mode: Mode, handler: str, wants: type) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    made = Handler()
    handlers: dict[str, Any] = {
        "lambda order": lambda order: made.seen.append(order),
        "lambda msg": lambda msg: made.seen.append(msg),
        "lambda message": lambda message: made.seen.append(message),
        "partial": partial(Handler.message, made),
    }
    # As it is, not wrapped by the harness: in async mode a sync handler runs in a thread.
    chosen = handlers.get(handler) or (made if handler == "__call__" else getattr(made, handler))
    mode.call(rmq.queue.run if mode.name == "sync" else rmq.queue.arun, chosen, until_empty=True)
    (seen,) = made.seen
    assert isinstance(seen, wants)
    assert rmq.stats().completed == 1


def test_a_handler_without_arguments_is_refused(mode: Mode) -> None:
    rmq = mode.open()
    with pytest.raises(ConfigError, match="argument"):
        rmq.run(lambda: None, until_empty=True)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_failing_handler_never_ends_it(mode: Mode, concurrency: int) -> None:
    rmq = mode.open(retry=ONCE)
    rmq.publish_many(orders(*range(20)))

    def handle(order: Order) -> None:
        if order.order_id % 2:
            broken(order)

    rmq.run(handle, until_empty=True, concurrency=concurrency)
    stats = rmq.stats()
    assert (stats.completed, stats.dead) == (10, 10)
    assert {letter.error for letter in rmq.dead_list()} == {"BrokenError: out of paper"}


def test_a_handler_may_give_the_verdict(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))

    def handle(msg: Message[Order]) -> None:
        if msg.payload.order_id == 2:
            msg.reject("not this one")
        elif msg.payload.order_id == 3:
            msg.retry(delay=60)

    rmq.run(handle, until_empty=True)
    stats = rmq.stats()
    assert (stats.completed, stats.dead, stats.delayed) == (1, 1, 1)


@pytest.mark.parametrize("kind", ["own", "sync handler"])
def test_handlers_really_run_at_the_same_time(mode: Mode, kind: str) -> None:
    """Each of four handlers waits until all four are there."""
    rmq = mode.open()
    rmq.publish_many(orders(*range(8)))
    barrier = threading.Barrier(4)
    threads: set[int] = set()

    def handle(order: Order) -> None:
        threads.add(threading.get_ident())
        barrier.wait(5)

    async def meet(order: Order) -> None:
        threads.add(threading.get_ident())
        here.append(order)
        if len(here) % 4 == 0:
            met.set()
            met.clear()
        else:
            async with asyncio.timeout(5):
                await met.wait()

    here: list[Order] = []
    met = asyncio.Event()
    options = {"concurrency": 4, "until_empty": True}
    if mode.name == "sync":
        if kind == "own":
            mode.call(rmq.queue.run, handle, **options)
        else:
            return
    else:
        mode.call(rmq.queue.arun, meet if kind == "own" else handle, **options)
    stats = rmq.stats()
    assert (stats.completed, stats.failed) == (8, 0)
    in_threads = mode.name == "sync" or kind == "sync handler"
    assert (len(threads) >= 4) == in_threads
    main = threading.get_ident()
    assert (main in threads) == (mode.name == "sync" or not in_threads)


def test_no_more_than_concurrency_run_at_once(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(30)))
    lock, running, most = threading.Lock(), [0], [0]

    def enter() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])

    def handle(order: Order) -> None:
        enter()
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    async def handle_async(order: Order) -> None:
        enter()
        await asyncio.sleep(0.005)
        running[0] -= 1

    if mode.name == "sync":
        mode.call(rmq.queue.run, handle, concurrency=3, until_empty=True)
    else:
        mode.call(rmq.queue.arun, handle_async, concurrency=3, until_empty=True)
    assert most == [3]
    assert rmq.stats().completed == 30


def test_each_message_is_handled_once_by_many_hands(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(200)))
    seen: list[int] = []
    rmq.run(lambda order: seen.append(order.order_id), concurrency=8, until_empty=True)
    assert sorted(seen) == list(range(200))
    assert (rmq.stats().completed, rmq.stats().stale) == (200, 0)


def test_retries_inside_a_worker(mode: Mode) -> None:
    rmq = mode.open(retry=FAST)
    rmq.publish_many(orders(1, 2, 3))
    seen: list[tuple[int, int]] = []

    def handle(msg: Message[Order]) -> None:
        seen.append((msg.payload.order_id, msg.attempt))
        if msg.attempt < 3:
            raise BrokenError

    rmq.run(handle, concurrency=2, until_empty=True)
    assert sorted(seen) == [(n, attempt) for n in (1, 2, 3) for attempt in (1, 2, 3)]
    assert rmq.stats().completed == 3


@pytest.mark.parametrize("concurrency", [1, 3])
def test_max_messages_and_idle_timeout(mode: Mode, concurrency: int) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(10)))
    seen: list[int] = []
    rmq.run(lambda order: seen.append(order.order_id), max_messages=4, concurrency=concurrency)
    assert len(seen) == 4
    assert (rmq.stats().completed, rmq.stats().in_flight, rmq.stats().ready) == (4, 0, 6)
    rmq.run(lambda order: seen.append(order.order_id), idle_timeout=0.1, concurrency=concurrency)
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize("concurrency", [1, 4])
def test_closing_the_queue_ends_a_worker_that_waits(mode: Mode, concurrency: int) -> None:
    rmq = mode.open()
    job = rmq.later("run", lambda order: None, concurrency=concurrency)
    mode.until(lambda: rmq.stats().consumers == 1)
    mode.sleep(0.05)
    rmq.close()
    job.result(2)
    assert mode.open().stats().consumers == 0


def test_a_worker_wakes_for_each_message(mode: Mode) -> None:
    rmq = mode.open()
    seen: list[int] = []
    job = rmq.later("run", lambda order: seen.append(order.order_id), concurrency=3, max_messages=3)
    for number in range(3):
        mode.sleep(0.05)
        rmq.publish(Order(order_id=number))
        mode.until(lambda: number in seen, 2)  # noqa: B023
    job.result(2)
    assert sorted(seen) == [0, 1, 2]


# An interrupt leaves the event loop at once, past whoever waits: asyncio.run() cancels the rest.
@pytest.mark.leaves("tasks")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_f21_an_interrupt_in_a_handler_ends_the_worker_and_releases(
    mode: Mode, error: type[BaseException], concurrency: int
) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))

    def handle(order: Order) -> None:
        raise error

    async def handle_async(order: Order) -> None:
        raise error

    async def main() -> None:
        async with Queue[Order](mode.queue_name, mode.url) as queue:
            await queue.arun(handle_async, concurrency=concurrency, stop_on_signals=False)

    with pytest.raises(error):
        if mode.name == "sync":
            rmq.queue.run(handle, concurrency=concurrency)
        else:
            asyncio.run(main())
    gc.collect()  # asyncio logs tasks whose exception nobody has fetched
    stats = rmq.stats()
    assert (stats.failed, stats.completed, stats.ready, stats.consumers) == (0, 0, 2, 0)


def test_f20_cancelling_arun_releases_what_is_in_hand(mode: Mode) -> None:
    if mode.name == "sync":
        return
    rmq = mode.open()
    rmq.publish_many(orders(*range(5)))
    job = rmq.later("run", lambda order: 30.0, concurrency=3, prefetch=5)
    mode.until(lambda: rmq.stats().in_flight >= 3)
    assert job.task is not None
    job.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        job.result()
    stats = rmq.stats()
    assert (stats.failed, stats.completed, stats.ready, stats.consumers) == (0, 0, 5, 0)
    assert sorted(ids(rmq.consume_all())) == [0, 1, 2, 3, 4]


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("concurrency", [0, -1, 1001])
def test_concurrency_out_of_range(mode: Mode, concurrency: int) -> None:
    rmq = mode.open()
    with pytest.raises(ConfigError):
        rmq.run(lambda order: None, concurrency=concurrency)


def test_settle_inside_a_sync_handler(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    completed: list[int] = []

    def handle(msg: Message[Order]) -> None:
        msg.ack()
        msg.settle()
        completed.append(1)

    mode.call(rmq.queue.run if mode.name == "sync" else rmq.queue.arun, handle, until_empty=True)
    assert completed == [1]
    assert (rmq.stats().completed, rmq.stats().failed) == (1, 0)


def test_run_refuses_an_async_handler(mode: Mode) -> None:
    if mode.name == "async":
        return
    rmq = mode.open()
    rmq.publish(Order(order_id=1))

    async def handle(order: Order) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match="arun"):
        rmq.queue.run(handle, until_empty=True)
    stats = rmq.stats()
    assert (stats.ready, stats.failed, stats.dead) == (1, 0, 0)
