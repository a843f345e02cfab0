"""Draining, looking, waiting, crashing."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from typed_rmq import ConfigError, Message, Queue, Retry
from typed_rmq.testing import (
    QueueFactory,
    RedisForTests,
    adrain,
    await_until_empty,
    crash,
    drain,
    published,
    wait_until_empty,
)

RunAsync = Callable[[Coroutine[Any, Any, None]], None]


class Order(BaseModel):
    number: int


@pytest.fixture
def orders(rmq_queue: QueueFactory) -> Queue[Order]:
    return rmq_queue(Order)


def some(count: int) -> list[Order]:
    return [Order(number=number) for number in range(count)]


# --- what was published


def test_published_shows_ready_and_delayed_payloads(orders: Queue[Order]) -> None:
    assert published(orders) == []
    orders.publish(Order(number=3), delay=60)
    orders.publish(Order(number=2), priority="low")
    orders.publish(Order(number=1), priority="high")
    assert [one.number for one in published(orders)] == [1, 2, 3]


def test_published_does_not_overlook_the_rest(rmq_queue: QueueFactory) -> None:
    numbers = rmq_queue(int)
    numbers.publish_many(range(1001))
    with pytest.raises(AssertionError, match="1000 messages or more"):
        published(numbers)


def test_published_refuses_what_it_cannot_decode(
    orders: Queue[Order], rmq_queue: QueueFactory
) -> None:
    rmq_queue(str, "order").publish("no order")
    with pytest.raises(AssertionError, match="cannot be decoded"):
        published(orders)


def test_none_is_a_payload(rmq_queue: QueueFactory) -> None:
    nothing = rmq_queue(Queue[None], "nothing")
    nothing.publish(None)
    assert published(nothing) == [None]


# --- drain


def test_drain_tells_what_was_handled(orders: Queue[Order]) -> None:
    orders.publish_many(some(3), headers={"trace": "t"})
    seen: list[Order] = []
    drained = drain(orders, seen.append)
    assert drained.payloads == seen == some(3)
    assert drained.errors == []
    first = drained.deliveries[0]
    assert (first.payload, first.attempt, first.headers) == (Order(number=0), 1, {"trace": "t"})
    assert orders.stats().completed == 3


def test_drain_without_a_handler_acks(orders: Queue[Order]) -> None:
    orders.publish_many(some(2))
    assert drain(orders).payloads == some(2)
    assert orders.stats().completed == 2


def test_drain_hands_out_messages_to_those_who_ask(orders: Queue[Order]) -> None:
    orders.publish(Order(number=1))

    def reject(msg: Message[Order]) -> None:
        msg.reject("sold out")

    drain(orders, reject)
    assert [letter.reason for letter in orders.dead] == ["sold out"]


def test_drain_also_handles_what_the_handler_publishes(rmq_queue: QueueFactory) -> None:
    numbers = rmq_queue(int)

    def count_down(number: int) -> None:
        if number:
            numbers.publish(number - 1)

    numbers.publish(3)
    assert drain(numbers, count_down).payloads == [3, 2, 1, 0]


def test_drain_raises_what_the_handler_raised(rmq_queue: QueueFactory) -> None:
    orders = rmq_queue(Order, retry=Retry(backoff=60, jitter="none"))

    def fail(order: Order) -> None:
        raise RuntimeError(f"order {order.number}")

    orders.publish(Order(number=1))
    with pytest.raises(RuntimeError, match="order 1"):
        drain(orders, fail)
    assert orders.stats().delayed == 1  # as the queue's policy says
    orders.publish_many([Order(number=2), Order(number=3)])
    with pytest.raises(ExceptionGroup) as several:
        drain(orders, fail)
    assert [str(error) for error in several.value.exceptions] == ["order 2", "order 3"]


def test_drain_keeps_errors_where_asked(rmq_queue: QueueFactory) -> None:
    orders = rmq_queue(Order, retry=Retry(max_attempts=1))

    def fail_odd(order: Order) -> None:
        if order.number % 2:
            raise RuntimeError("odd")

    orders.publish_many(some(4))
    drained = drain(orders, fail_odd, keep_errors=True)
    assert [one.number for one in drained.payloads] == [0, 2]
    assert [str(error) for error in drained.errors] == ["odd", "odd"]
    assert len(orders.dead) == 2


def test_drain_in_threads(orders: Queue[Order]) -> None:
    orders.publish_many(some(20))
    together = threading.Barrier(4)

    def meet(order: Order) -> None:
        together.wait(10)  # only four at a time come through

    assert sorted(one.number for one in drain(orders, meet, concurrency=4).payloads) == list(
        range(20)
    )


def test_drain_gives_up_on_a_queue_that_never_gets_empty(
    rmq_queue: QueueFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typed_rmq.testing.handling.MOST", 50)
    numbers = rmq_queue(int, dedup=None)
    numbers.publish(1)

    def again(number: int) -> None:
        numbers.publish(number)

    with pytest.raises(AssertionError, match="not empty after 50"):
        drain(numbers, again)


def test_drain_with_idle_waits_for_what_is_due_soon(rmq_queue: QueueFactory) -> None:
    numbers = rmq_queue(int)
    numbers.publish(1, delay=0.03)
    assert drain(numbers).payloads == []
    began = time.monotonic()
    assert drain(numbers, idle=30).payloads == [1]
    assert time.monotonic() - began < 25  # not the whole 30 s


def test_drain_refuses_an_async_handler(orders: Queue[Order]) -> None:
    async def handle(order: Order) -> None: ...

    with pytest.raises(ConfigError, match="adrain"):
        drain(orders, handle)


# --- adrain


def test_adrain(rmq_queue: QueueFactory, run_async: RunAsync) -> None:
    main = threading.current_thread()

    async def test() -> None:
        async with rmq_queue(Order) as orders:
            seen: list[Order] = []

            async def handle(order: Order) -> None:
                assert threading.current_thread() is main
                await asyncio.sleep(0)
                seen.append(order)

            await orders.apublish_many(some(3))
            assert (await adrain(orders, handle, concurrency=2)).payloads == seen == some(3)

            def handle_in_thread(order: Order) -> None:
                assert threading.current_thread() is not main

            await orders.apublish(Order(number=4))
            assert (await adrain(orders, handle_in_thread)).payloads == [Order(number=4)]
            await orders.apublish(Order(number=5))
            assert (await adrain(orders, lambda order: handle(order))).payloads[0].number == 5
            assert len(seen) == 4
            await orders.apublish(Order(number=6))
            assert (await adrain(orders)).payloads == [Order(number=6)]

    run_async(test())


def test_adrain_raises_what_the_handler_raised(
    rmq_queue: QueueFactory, run_async: RunAsync
) -> None:
    async def fail(order: Order) -> None:
        raise RuntimeError("broken")

    async def test() -> None:
        async with rmq_queue(Order) as orders:
            await orders.apublish(Order(number=1))
            with pytest.raises(RuntimeError, match="broken"):
                await adrain(orders, fail)
            await orders.apublish(Order(number=2), delay=0.02)
            drained = await adrain(orders, fail, keep_errors=True, idle=0.2)
            assert Order(number=2) in [one.payload for one in drained.deliveries]

    run_async(test())


# --- consumers beside the test


def test_wait_until_empty(orders: Queue[Order]) -> None:
    seen: list[Order] = []

    def work() -> None:
        for msg in orders:
            with msg as order:
                time.sleep(0.01)
                seen.append(order)

    consumer = threading.Thread(target=work)
    consumer.start()
    orders.publish_many(some(5))
    wait_until_empty(orders, 30)
    assert seen == some(5)
    assert orders.stats().completed == 5
    orders.close()
    consumer.join()


def test_wait_until_empty_says_what_is_left(orders: Queue[Order]) -> None:
    orders.publish_many(some(2))
    message = orders.receive()
    assert message is not None
    with pytest.raises(AssertionError, match="1 messages are ready and 1 in flight, with 1 con"):
        wait_until_empty(orders, 0.01)
    message.ack()


def test_await_until_empty(rmq_queue: QueueFactory, run_async: RunAsync) -> None:
    async def test() -> None:
        async with rmq_queue(Order) as orders:
            seen: list[Order] = []

            async def work() -> None:
                async for msg in orders:
                    with msg as order:
                        seen.append(order)

            consumer = asyncio.create_task(work())
            await orders.apublish_many(some(5))
            await await_until_empty(orders, 30)
            assert seen == some(5)
            await orders.aclose()
            await consumer

    run_async(test())


# --- crash


def test_crash_is_a_real_death(
    rmq_redis: RedisForTests, rmq_queue: QueueFactory, tmp_path: Path
) -> None:
    ledger, orders = tmp_path / "ledger", rmq_queue(Order, lease=1.0)
    pids: list[int] = []

    def ship(order: Order) -> None:
        pids.append(os.getpid())
        with ledger.open("a") as file:
            file.write(f"{order.number} by {os.getpid()}\n")

    orders.publish(Order(number=1))
    held = crash(orders, ship)
    assert held.payload == Order(number=1)
    assert held.state == "in_flight"
    assert pids == []  # what it did in memory died with it
    rmq_redis.advance(1.0)
    assert [one.attempt for one in drain(orders, ship, idle=30).deliveries] == [2]
    (first, second) = ledger.read_text().splitlines()
    assert first != second
    assert second == f"1 by {os.getpid()}"


def test_crash_in_the_middle(rmq_queue: QueueFactory, tmp_path: Path) -> None:
    orders, ledger = rmq_queue(Order), tmp_path / "ledger"

    def ship(msg: Message[Order]) -> None:
        ledger.write_text(msg.id)
        raise SystemExit

    orders.publish(Order(number=1))
    assert crash(orders, ship).id == ledger.read_text()
    assert orders.stats().in_flight == 1


def test_crash_of_an_async_handler(
    rmq_queue: QueueFactory, tmp_path: Path, run_async: RunAsync
) -> None:
    ledger = tmp_path / "ledger"

    async def ship(order: Order) -> None:
        await asyncio.sleep(0)
        ledger.write_text("shipped")

    async def test() -> None:
        async with rmq_queue(Order) as orders:
            await orders.apublish(Order(number=1))
            crash(orders, ship)
            assert ledger.read_text() == "shipped"
            assert (await orders.astats()).in_flight == 1

    run_async(test())


def test_crash_needs_a_message(orders: Queue[Order]) -> None:
    with pytest.raises(AssertionError, match="no message"):
        crash(orders)
