"""How a loop is left, and what becomes of the message in hand and of those fetched ahead."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.harness import FAST, ONCE, BrokenError, Mode, Order, Rmq, ids, orders
from tests.faults.actors import eventually
from typed_rmq import Message


def leave_at(order_id: int, what: Any) -> Callable[[Message[Order]], Any]:
    def body(msg: Message[Order]) -> Any:
        if msg.payload.order_id != order_id:
            return None
        if isinstance(what, BaseException):
            raise what
        return what

    return body


def settled(rmq: Rmq) -> Any:
    """The stats when the loop's session has said goodbye."""
    rmq.mode.until(lambda: rmq.stats().consumers == 0)
    return rmq.stats()


@pytest.mark.parametrize("managed", [False, True])
@pytest.mark.parametrize("style", ["with", "bare"])
@pytest.mark.parametrize("how", ["break", "return"])
def test_break_and_return_ack(mode: Mode, style: str, how: str, managed: bool) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(8)))
    taken = rmq.each(leave_at(2, how), style=style, managed=managed, prefetch=4)
    assert ids(taken) == [0, 1, 2]
    stats = settled(rmq)
    assert (stats.completed, stats.failed, stats.in_flight, stats.ready) == (3, 0, 0, 5)
    # What was fetched ahead went back to the front, uncounted.
    seen = []
    assert ids(rmq.consume_all(lambda msg: seen.append(msg.attempt))) == [3, 4, 5, 6, 7]
    assert seen == [1] * 5


@pytest.mark.parametrize("managed", [False, True])
def test_an_exception_in_a_bare_loop_fails_the_message_and_goes_on(
    mode: Mode, managed: bool
) -> None:
    rmq = mode.open(retry=ONCE)
    rmq.publish_many(orders(*range(5)))
    with pytest.raises(BrokenError):
        rmq.each(leave_at(1, BrokenError("no")), style="bare", managed=managed, prefetch=3)
    stats = settled(rmq)
    assert (stats.completed, stats.failed, stats.dead, stats.ready) == (1, 1, 1, 3)
    (letter,) = rmq.dead_list()
    assert letter.payload.order_id == 1
    if managed:
        assert letter.error == "BrokenError: no"
        assert "leave_at" in letter.traceback or "in body" in letter.traceback
    else:
        assert letter.reason.startswith("the loop was left while this message was being handled")
    assert ids(rmq.consume_all()) == [2, 3, 4]


def test_an_exception_inside_with_ends_only_its_message(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE)
    rmq.publish_many(orders(*range(5)))
    assert ids(rmq.consume_all(leave_at(1, BrokenError("no")))) == [0, 1, 2, 3, 4]
    assert (rmq.stats().completed, rmq.stats().dead) == (4, 1)


@pytest.mark.parametrize("managed", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_f21_an_interrupt_inside_with_releases(
    mode: Mode, error: type[BaseException], managed: bool
) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(5)))
    with pytest.raises(error):
        rmq.each(leave_at(1, error()), managed=managed, prefetch=3)
    stats = settled(rmq)
    assert (stats.completed, stats.failed, stats.in_flight, stats.ready) == (1, 0, 0, 4)
    seen = []
    assert ids(rmq.consume_all(lambda msg: seen.append(msg.attempt))) == [1, 2, 3, 4]
    assert seen == [1, 1, 1, 1]


@pytest.mark.parametrize("managed", [False, True])
@pytest.mark.parametrize(("prefetch", "at"), [(2, 1), (20, 12)], ids=["fetched", "claimed-ahead"])
def test_f21_what_an_interrupt_gives_back_keeps_its_order_however_long_leaving_takes(
    mode: Mode, managed: bool, prefetch: int, at: int
) -> None:
    """The message in hand is sent before the loop is left; those fetched ahead go with it."""
    rmq = mode.open()
    rmq.publish_many(orders(*range(1, 41)))

    def loop() -> None:
        consumer = rmq.queue.consume(prefetch=prefetch, ack_linger=0.05)
        with consumer if managed else contextlib.nullcontext():
            for msg in consumer:
                if msg.payload.order_id == at:
                    try:
                        with msg:
                            raise KeyboardInterrupt
                    finally:
                        eventually(lambda: rmq.queue.stats().released > 0)

    async def loop_async() -> None:
        consumer = rmq.queue.consume(prefetch=prefetch, ack_linger=0.05)
        async with consumer if managed else contextlib.nullcontext():
            async for msg in consumer:
                if msg.payload.order_id == at:
                    try:
                        with msg:
                            raise asyncio.CancelledError
                    finally:
                        async with asyncio.timeout(20):
                            while (await rmq.queue.astats()).released == 0:
                                await asyncio.sleep(0.01)

    with pytest.raises((KeyboardInterrupt, asyncio.CancelledError)):
        mode.call(loop if mode.name == "sync" else loop_async)
    stats = settled(rmq)
    assert (stats.completed, stats.failed, stats.in_flight) == (at - 1, 0, 0)
    left = [(one.payload.order_id, one.attempt) for one in rmq.peek(40)]
    assert left == [(number, 1) for number in range(at, 41)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_f21_an_interrupt_in_a_managed_bare_loop_releases(
    mode: Mode, error: type[BaseException]
) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    with pytest.raises(error):
        rmq.each(leave_at(1, error()), style="bare", managed=True)
    stats = settled(rmq)
    assert (stats.completed, stats.failed, stats.ready, stats.released) == (0, 0, 2, 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_bare_loop_is_never_an_ack(
    mode: Mode, error: type[BaseException]
) -> None:
    rmq = mode.open(retry=FAST)
    rmq.publish(Order(order_id=1))
    with pytest.raises(error):
        rmq.each(leave_at(1, error()), style="bare")
    stats = settled(rmq)
    assert (stats.completed, stats.ready) == (0, 1)
    assert stats.failed + stats.released == 1


@pytest.mark.parametrize("style", ["with", "bare"])
def test_f20_cancelling_a_task_releases(mode: Mode, style: str) -> None:
    if mode.name == "sync":
        return  # threads cannot be cancelled
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    job = rmq.later("each", lambda msg: 30.0, style=style, managed=style == "bare", prefetch=2)
    mode.until(lambda: rmq.stats().in_flight == 2)
    assert job.task is not None
    job.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        job.result()
    stats = settled(rmq)
    assert (stats.completed, stats.failed, stats.in_flight, stats.ready) == (0, 0, 0, 3)
    seen = []
    assert sorted(ids(rmq.consume_all(lambda msg: seen.append(msg.attempt)))) == [1, 2, 3]
    assert seen == [1, 1, 1]


def test_f20_cancelling_a_task_in_a_bare_loop_is_never_an_ack(mode: Mode) -> None:
    if mode.name == "sync":
        return
    rmq = mode.open(retry=FAST)
    rmq.publish(Order(order_id=1))
    job = rmq.later("each", lambda msg: 30.0, style="bare")
    mode.until(lambda: rmq.stats().in_flight == 1)
    assert job.task is not None
    job.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        job.result()
    stats = settled(rmq)
    assert (stats.completed, stats.ready) == (0, 1)


def test_f20_cancelling_a_consumer_that_waits(mode: Mode) -> None:
    if mode.name == "sync":
        return
    rmq = mode.open()
    for _ in range(5):
        job = rmq.later("each")
        mode.until(lambda: rmq.stats().consumers == 1)
        assert job.task is not None
        job.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            job.result()
        settled(rmq)
    rmq.publish(Order(order_id=1))
    assert ids(rmq.consume_all()) == [1]


def test_f20_a_cancelled_publish_is_stored_once_or_not_at_all(mode: Mode) -> None:
    if mode.name == "sync":
        return
    rmq = mode.open(dedup=None)
    stored = 0
    for number in range(20):
        job = rmq.later("publish", Order(order_id=number))
        for _ in range(number % 5):
            mode.sleep(0)
        assert job.task is not None
        job.task.cancel()
        try:
            job.result()
            stored += 1
        except asyncio.CancelledError:
            pass
        # The next caller gets his own answer.
        receipt = rmq.publish(Order(order_id=100 + number))
        assert [one.id for one in rmq.peek(100)].count(receipt.id) == 1
    numbers = ids(rmq.consume_all())
    assert len(numbers) == len(set(numbers))
    assert len([number for number in numbers if number < 100]) >= stored
    assert [number for number in numbers if number >= 100] == list(range(100, 120))


def test_f22_an_iterator_that_is_dropped_fails_what_it_held(mode: Mode) -> None:
    """Where it cannot be known how a loop ended, the message counts as failed."""
    rmq = mode.open(retry=FAST)
    rmq.publish_many(orders(1, 2))

    def by_hand() -> None:
        iterator = iter(rmq.queue.consume())
        assert next(iterator).payload.order_id == 1

    async def by_hand_async() -> None:
        iterator = aiter(rmq.queue.consume())
        assert (await anext(iterator)).payload.order_id == 1

    mode.call(by_hand if mode.name == "sync" else by_hand_async)
    gc.collect()
    stats = settled(rmq)
    assert (stats.completed, stats.failed, stats.ready) == (0, 1, 2)


def test_an_iterator_that_was_never_used_leaves_nothing(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))

    def make() -> None:
        iter(rmq.queue)
        rmq.queue.consume()

    async def make_async() -> None:
        aiter(rmq.queue)
        rmq.queue.consume()

    mode.call(make if mode.name == "sync" else make_async)
    stats = rmq.stats()
    assert (stats.ready, stats.consumers, stats.in_flight) == (1, 0, 0)


def test_a_comprehension_that_raises_is_never_an_ack(mode: Mode) -> None:
    rmq = mode.open(retry=FAST)
    rmq.publish_many(orders(1, 2))

    def fail(_: object) -> None:
        raise BrokenError

    def comprehend() -> Any:
        source = rmq.queue.consume(prefetch=1, stop_on_signals=False)
        return [fail(msg) for msg in source]

    async def comprehend_async() -> Any:
        source = rmq.queue.consume(prefetch=1, stop_on_signals=False)
        return [fail(msg) async for msg in source]

    with pytest.raises(BrokenError):
        mode.call(comprehend if mode.name == "sync" else comprehend_async)
    gc.collect()  # the exception, its task, and the frames that they hold refer to each other
    stats = settled(rmq)
    assert (stats.completed, stats.failed, stats.ready) == (0, 1, 2)


def test_a_comprehension_acks_what_it_has_handled(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))

    def comprehend() -> Any:
        return [msg.payload.order_id for msg in rmq.queue.consume(until_empty=True)]

    async def comprehend_async() -> Any:
        return [msg.payload.order_id async for msg in rmq.queue.consume(until_empty=True)]

    assert mode.call(comprehend if mode.name == "sync" else comprehend_async) == [1, 2, 3]
    assert rmq.stats().completed == 3


@pytest.mark.parametrize("how", ["break", "return", "raise"])
def test_a_loop_inside_try_and_with(mode: Mode, how: str) -> None:
    """The innermost exit counts, whatever stands around it."""
    rmq = mode.open(retry=ONCE)
    rmq.publish_many(orders(1, 2, 3))

    def loop() -> None:
        for msg in rmq.queue.consume(prefetch=1):
            try:
                try:
                    if msg.payload.order_id == 2:
                        raise BrokenError
                finally:
                    gc.collect(0)
            except BrokenError:
                if how == "break":
                    break
                if how == "return":
                    return
                raise

    async def loop_async() -> None:
        async for msg in rmq.queue.consume(prefetch=1):
            try:
                try:
                    if msg.payload.order_id == 2:
                        raise BrokenError
                finally:
                    gc.collect(0)
            except BrokenError:
                if how == "break":
                    break
                if how == "return":
                    return
                raise

    call = loop if mode.name == "sync" else loop_async
    if how == "raise":
        with pytest.raises(BrokenError):
            mode.call(call)
    else:
        mode.call(call)
    stats = settled(rmq)
    assert (stats.completed, stats.dead) == ((1, 1) if how == "raise" else (2, 0))
    assert stats.ready == 1


def test_continue_acks(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))

    def loop() -> None:
        for msg in rmq.queue.consume(until_empty=True):
            if msg.payload.order_id == 2:
                continue

    async def loop_async() -> None:
        async for msg in rmq.queue.consume(until_empty=True):
            if msg.payload.order_id == 2:
                continue

    mode.call(loop if mode.name == "sync" else loop_async)
    assert rmq.stats().completed == 3


def test_the_goodbye_of_a_loop_that_was_broken_out_of_needs_no_help(mode: Mode) -> None:
    """Without close(), without a context manager: the session ends by itself."""
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    rmq.each(leave_at(1, "break"), style="bare", prefetch=3)
    stats = settled(rmq)
    assert (stats.completed, stats.ready, stats.in_flight, stats.consumers) == (1, 2, 0, 0)


def test_the_queue_can_be_closed_inside_its_loop(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    other = mode.open()

    def loop() -> None:
        for msg in rmq.queue.consume(prefetch=1):
            with msg:
                rmq.queue.close()

    async def loop_async() -> None:
        async for msg in rmq.queue.consume(prefetch=1):
            with msg:
                await rmq.queue.aclose()

    mode.call(loop if mode.name == "sync" else loop_async)
    stats = settled(other)
    assert (stats.completed, stats.failed, stats.ready) == (1, 0, 2)


def test_f20_cancelling_a_managed_bare_loop_keeps_the_order(mode: Mode) -> None:
    if mode.name == "sync":
        return
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    job = rmq.later("each", lambda msg: 30.0, style="bare", managed=True, prefetch=2)
    mode.until(lambda: rmq.stats().in_flight == 2)
    job.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        job.result()
    mode.until(lambda: rmq.stats().consumers == 0)
    assert ids(rmq.consume_all()) == [1, 2, 3]


def test_a_comprehension_that_raises_with_signals(mode: Mode) -> None:
    rmq = mode.open(retry=FAST)
    rmq.publish_many(orders(1, 2))

    def fail(_: object) -> None:
        raise BrokenError

    def comprehend() -> Any:
        return [fail(msg) for msg in rmq.queue.consume(prefetch=1)]

    async def comprehend_async() -> Any:
        return [fail(msg) async for msg in rmq.queue.consume(prefetch=1)]

    with pytest.raises(BrokenError):
        mode.call(comprehend if mode.name == "sync" else comprehend_async)
    gc.collect()  # the exception, its task, and the frames that they hold refer to each other
    stats = settled(rmq)
    assert (stats.completed, stats.failed, stats.ready) == (0, 1, 2)
