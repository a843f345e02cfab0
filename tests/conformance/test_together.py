"""Publishes of many threads or tasks at once: they leave together, and each is told its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.conformance.conftest import Keys
from tests.conformance.harness import AsyncMode, Job, Mode, Order, Recorder, Rmq, ids
from typed_rmq import PayloadError, QueueCorrupt, QueueFull, Receipt


class Crowd:
    """Many callers, held up at the door: Redis does no writes until ``let_in``."""

    def __init__(self, mode: Mode, client: redis.Redis) -> None:
        self.mode = mode
        self._client = client
        self.jobs: list[Job] = []

    def publish(self, rmq: Rmq, payload: Any, **options: Any) -> Job:
        job = self.mode.spawn(rmq.operations.publish, payload, **options)
        self.jobs.append(job)
        return job

    def let_in(self) -> list[Receipt]:
        self.mode.sleep(0.05)
        self._client.client_unpause()
        return [job.result(30) for job in self.jobs]


@pytest.fixture
def crowd(mode: Mode, client: redis.Redis) -> Iterator[Crowd]:
    # Before anybody comes the script is known, and its first call has been.
    with contextlib.closing(mode.open(name="crowd-warm")) as warm:
        warm.publish(Order(order_id=0))
        warm.purge()
    client.client_pause(20_000, all=False)
    try:
        yield Crowd(mode, client)
    finally:
        client.client_unpause()


def test_many_at_once_are_few_calls_and_each_gets_its_own_receipt(
    mode: Mode, crowd: Crowd, keys: Keys
) -> None:
    rmq = mode.open()
    before = keys.calls()
    for number in range(40):
        crowd.publish(rmq, Order(order_id=number))
    receipts = crowd.let_in()
    assert keys.calls() - before <= 20
    found = {each.payload.order_id: each.id for each in rmq.peek(100)}
    assert found == {number: receipt.id for number, receipt in enumerate(receipts)}
    assert not any(receipt.duplicate for receipt in receipts)
    assert rmq.stats().published == 40


def test_duplicates_among_them_are_told_to_those_who_sent_them(mode: Mode, crowd: Crowd) -> None:
    rmq = mode.open()
    for number in range(40):
        crowd.publish(rmq, Order(order_id=number % 10))
    receipts = crowd.let_in()
    first = {each.payload.order_id: each.id for each in rmq.peek(100)}
    assert len(first) == 10
    for number, receipt in enumerate(receipts):
        assert receipt.id == first[number % 10]
        assert not receipt.conflict
    assert [receipt.duplicate for receipt in receipts].count(False) == 10
    assert (rmq.stats().published, rmq.stats().duplicates) == (10, 30)


def test_headers_keys_and_conflicts_stay_with_their_message(mode: Mode, crowd: Crowd) -> None:
    rmq = mode.open()
    rmq_first = crowd.publish(rmq, Order(order_id=0), dedup_key="same")
    mode.sleep(0.02)
    for number in range(1, 20):
        crowd.publish(rmq, Order(order_id=number), headers={"n": str(number)})
    others = [crowd.publish(rmq, Order(order_id=100 + n), dedup_key="same") for n in range(5)]
    crowd.let_in()
    assert [job.result().conflict for job in others] == [True] * 5
    assert {job.result().id for job in others} == {rmq_first.result().id}
    found = {each.payload.order_id: each.headers for each in rmq.peek(100)}
    assert found == {0: {}} | {number: {"n": str(number)} for number in range(1, 20)}


def test_each_priority_keeps_its_own(mode: Mode, crowd: Crowd) -> None:
    rmq = mode.open()
    for number in range(30):
        crowd.publish(rmq, Order(order_id=number), priority=("high", "normal", "low")[number % 3])
    crowd.let_in()
    rest = [order.order_id % 3 for order in rmq.consume_all()]
    assert rest == [0] * 10 + [1] * 10 + [2] * 10


def test_an_invalid_one_among_them_is_the_only_one_refused(mode: Mode, crowd: Crowd) -> None:
    rmq = mode.open()
    good = [crowd.publish(rmq, Order(order_id=number)) for number in range(10)]
    bad = crowd.publish(rmq, Order.model_construct(order_id="x", sku="A"))
    good += [crowd.publish(rmq, Order(order_id=number)) for number in range(10, 20)]
    crowd.jobs.remove(bad)
    crowd.let_in()
    with pytest.raises(PayloadError, match="order_id"):
        bad.result()
    found = {each.payload.order_id: each.id for each in rmq.peek(100)}
    assert found == {number: job.result().id for number, job in enumerate(good)}


def test_a_foreign_key_stops_only_the_one_that_it_is_in_the_way_of(
    mode: Mode, client: redis.Redis, keys: Keys
) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=5))
    (key,) = [name for name in keys.all() if name.startswith("dedup:")]
    client.delete(keys(key))
    rmq.purge()
    client.rpush(keys(key), "foreign")
    crowd = Crowd(mode, client)
    client.client_pause(20_000, all=False)
    for number in range(20):
        crowd.publish(rmq, Order(order_id=number))
    bad = crowd.jobs.pop(5)
    crowd.let_in()
    with pytest.raises(QueueCorrupt):
        bad.result()
    assert sorted(ids([each.payload for each in rmq.peek(100)])) == [
        number for number in range(20) if number != 5
    ]
    assert rmq.stats().published == 1 + 19


def test_when_redis_is_full_each_is_told(mode: Mode, client: redis.Redis) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=0))
    crowd = Crowd(mode, client)
    client.client_pause(20_000, all=False)
    client.config_set("maxmemory", "1")
    try:
        for number in range(1, 20):
            crowd.publish(rmq, Order(order_id=number))
        with pytest.raises(QueueFull):
            crowd.let_in()
        for job in crowd.jobs:
            with pytest.raises(QueueFull, match="out of memory"):
                job.result()
    finally:
        client.config_set("maxmemory", "0")
    assert rmq.stats().published == 1


def test_bounded_delayed_and_plain_ones_do_not_mix(mode: Mode, crowd: Crowd) -> None:
    rmq, bounded = mode.open(), mode.open(name=mode.queue_name + "-b", max_length=5)
    small = [crowd.publish(bounded, Order(order_id=number)) for number in range(10)]
    for number in range(20):
        crowd.publish(rmq, Order(order_id=number), delay=60 if number % 2 else None)
    crowd.jobs = [job for job in crowd.jobs if job not in small]
    crowd.let_in()
    stats = rmq.stats()
    assert (stats.ready, stats.delayed) == (10, 10)
    refused = 0
    for job in small:
        try:
            job.result()
        except QueueFull:
            refused += 1
    assert refused == 5
    assert bounded.stats().ready == 5
    bounded.purge()


def test_observers_hear_of_each_once(mode: Mode, crowd: Crowd) -> None:
    seen = Recorder()
    rmq = mode.open(observers=[seen])
    for number in range(20):
        crowd.publish(rmq, Order(order_id=number % 15))
    receipts = crowd.let_in()
    told = [message_id for event in seen.told("published") for message_id in event.message_ids]
    assert sorted(told) == sorted(receipt.id for receipt in receipts if not receipt.duplicate)
    assert len(seen.told("duplicate")) == 5


def test_the_order_of_each_caller_is_kept(mode: Mode) -> None:
    rmq = mode.open(dedup=None)

    def callers() -> list[Job]:
        return [mode.spawn(_in_turn(mode), rmq, caller) for caller in range(10)]

    for job in callers():
        job.result(60)
    found = ids([each.payload for each in rmq.peek(1000)])
    assert len(found) == 10 * 30
    for caller in range(10):
        mine = [number for number in found if number // 100 == caller]
        assert mine == [100 * caller + number for number in range(30)]


def _in_turn(mode: Mode) -> Any:
    def sync(rmq: Rmq, caller: int) -> None:
        for number in range(30):
            rmq.queue.publish(Order(order_id=100 * caller + number))

    async def asynchronous(rmq: Rmq, caller: int) -> None:
        for number in range(30):
            await rmq.queue.apublish(Order(order_id=100 * caller + number))

    return sync if mode.name == "sync" else asynchronous


def test_what_is_cancelled_takes_nobody_along(mode: Mode, crowd: Crowd) -> None:
    if mode.name == "sync":
        return  # threads cannot be cancelled
    assert isinstance(mode, AsyncMode)
    rmq = mode.open(dedup=None)
    for number in range(40):
        crowd.publish(rmq, Order(order_id=number))
    mode.sleep(0.02)
    victims = crowd.jobs[0:40:3]  # the first is the one whose call is under way
    for job in victims:
        assert job.task is not None
        job.task.cancel()
    crowd.jobs = [job for job in crowd.jobs if job not in victims]
    receipts = crowd.let_in()
    for job in victims:
        with pytest.raises(asyncio.CancelledError):
            job.result()
    found = [(each.payload.order_id, each.id) for each in rmq.peek(100)]
    assert len(found) == len(set(found))
    for receipt in receipts:
        assert receipt.id in {message_id for _, message_id in found}
    # Those that waited were never sent; of the one under way nobody knows.
    assert {number for number, _ in found} - {0} == {n for n in range(40) if n % 3}


def test_when_all_are_cancelled_nothing_goes_on(mode: Mode, crowd: Crowd) -> None:
    if mode.name == "sync":
        return  # threads cannot be cancelled
    assert isinstance(mode, AsyncMode)
    rmq = mode.open(dedup=None)
    for number in range(10):
        crowd.publish(rmq, Order(order_id=number))
    mode.sleep(0.02)
    for job in crowd.jobs[:1]:  # so that those that waited are under way
        assert job.task is not None
        job.task.cancel()
    mode.sleep(0.02)
    loop = mode.runner.get_loop()
    for job in crowd.jobs[1:]:
        assert job.task is not None
        job.task.cancel()

    async def settled() -> None:
        await asyncio.gather(*(job.task for job in crowd.jobs if job.task), return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    mode.call(settled)
    assert loop is mode.runner.get_loop()
    crowd.jobs = []
    crowd.let_in()
    # And the next one is as good as ever.
    receipt = rmq.publish(Order(order_id=99))
    assert receipt.id in [each.id for each in rmq.peek(100)]
