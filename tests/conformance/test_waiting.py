"""Waiting costs nothing: no polling, no thread or task, and a wake-up when something comes."""

from __future__ import annotations

import asyncio
import threading
import time

from tests.conformance.conftest import Keys
from tests.conformance.harness import Job, Mode, Order, Rmq, ids, orders, timed


def idle(rmq: Rmq, **options: object) -> Job:
    """A consumer that waits."""
    job = rmq.later("each", **options)
    rmq.mode.until(lambda: rmq.stats().consumers >= 1)
    rmq.mode.sleep(0.05)
    return job


@timed
def test_an_idle_consumer_sends_fewer_than_ten_commands_per_lease(mode: Mode, keys: Keys) -> None:
    lease = 0.8
    rmq = mode.open(lease=lease)
    job = idle(rmq, max_messages=1)
    before = keys.calls()
    start = time.monotonic()
    mode.sleep(lease)
    calls, leases = keys.calls() - before, (time.monotonic() - start) / lease
    assert 2 <= calls < 10 * leases, "it keeps itself registered, and no more"
    assert rmq.stats().consumers == 1
    rmq.publish(Order(order_id=1))
    job.result(2)


@timed
def test_three_idle_consumers_do_not_wake_each_other(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(lease=0.8)
    jobs = [idle(rmq, max_messages=1) for _ in range(3)]
    before = keys.calls()
    mode.sleep(0.8)
    assert keys.calls() - before < 30
    rmq.publish_many(orders(1, 2, 3))
    assert sorted(number for job in jobs for number in ids(job.result(2))) == [1, 2, 3]


def test_an_idle_consumer_has_no_thread_and_no_task(mode: Mode) -> None:
    rmq = mode.open()
    threads = threading.active_count()
    rmq.publish(Order(order_id=1))
    job = rmq.later("each", max_messages=2)
    mode.until(lambda: rmq.stats().completed == 1)
    if mode.name == "sync":
        # The keeper of the message before goes soon; the consumer's own thread is the test's.
        mode.until(lambda: threading.active_count() == threads + 1)
    else:
        # So does the guard of the lease.
        mode.until(lambda: threading.active_count() == threads)
        assert job.task is not None
        assert asyncio.all_tasks(job.task.get_loop()) == {job.task}
    rmq.publish(Order(order_id=2))
    assert ids(job.result(2)) == [1, 2]


def test_an_idle_consumer_wakes_for_a_new_message(mode: Mode) -> None:
    rmq = mode.open(lease=60)
    job = idle(rmq, max_messages=1)
    start = time.monotonic()
    rmq.publish(Order(order_id=1))
    assert ids(job.result(3)) == [1]
    assert time.monotonic() - start < 1


def test_every_message_of_a_burst_finds_a_consumer(mode: Mode) -> None:
    rmq = mode.open(lease=60)
    jobs = [idle(rmq, max_messages=1, prefetch=1) for _ in range(4)]
    start = time.monotonic()
    rmq.publish_many(orders(1, 2, 3, 4))
    assert sorted(number for job in jobs for number in ids(job.result(3))) == [1, 2, 3, 4]
    assert time.monotonic() - start < 2


@timed
def test_an_idle_consumer_wakes_for_a_delayed_message(mode: Mode) -> None:
    rmq = mode.open(lease=60)
    job = idle(rmq, max_messages=2)
    start = time.monotonic()
    rmq.publish(Order(order_id=1), delay=0.6)
    rmq.publish(Order(order_id=2), delay=0.2)
    assert ids(job.result(3)) == [2, 1]
    assert 0.6 <= time.monotonic() - start < 1.5


@timed
def test_an_idle_consumer_wakes_for_a_retry(mode: Mode) -> None:
    rmq = mode.open(lease=60)
    rmq.publish(Order(order_id=1))
    failed = rmq.receive()
    job = idle(rmq, max_messages=1)
    start = time.monotonic()
    failed.retry(delay=0.2)
    rmq.settle(failed)
    assert ids(job.result(3)) == [1]
    assert 0.2 <= time.monotonic() - start < 1.5


def test_an_idle_consumer_wakes_for_a_release(mode: Mode) -> None:
    rmq = mode.open(lease=60)
    rmq.publish(Order(order_id=1))
    taken = rmq.receive()
    job = idle(rmq, max_messages=1)
    taken.release()
    rmq.settle(taken)
    assert ids(job.result(2)) == [1]


def test_an_idle_consumer_wakes_for_a_redrive(mode: Mode) -> None:
    rmq = mode.open(lease=60)
    rmq.publish(Order(order_id=1))
    rmq.consume_all(lambda msg: msg.reject("no"))
    job = idle(rmq, max_messages=1)
    assert rmq.dead_redrive() == 1
    assert ids(job.result(2)) == [1]


def test_an_idle_consumer_wakes_for_resume(mode: Mode) -> None:
    rmq = mode.open(lease=60)
    rmq.pause()
    rmq.publish(Order(order_id=1))
    job = idle(rmq, max_messages=1)
    assert not job.done
    rmq.resume()
    assert ids(job.result(2)) == [1]


def test_what_a_leaving_consumer_gives_back_wakes_an_idle_one(mode: Mode) -> None:
    rmq = mode.open(lease=60)
    rmq.publish_many(orders(1, 2, 3))
    leaver = mode.open(lease=60)
    job = leaver.later("each", lambda msg: 0.2, prefetch=3, max_messages=1)
    # It holds one and, by its prefetch of 3 and its limit of 1, no more: take the rest by hand.
    mode.until(lambda: rmq.stats().in_flight == 1)
    held = [rmq.receive(), rmq.receive()]
    waiting = idle(rmq, max_messages=2)
    for msg in held:
        msg.release()
    rmq.settle(held[0])
    assert ids(waiting.result(3)) == [2, 3]
    job.result()


@timed
def test_a_paused_queue_with_work_lets_its_consumers_sleep(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(lease=1.2)
    rmq.publish_many(orders(1, 2, 3))
    rmq.publish(Order(order_id=4), delay=0.05)
    rmq.pause()
    job = idle(rmq, max_messages=4)
    before = keys.calls()
    mode.sleep(0.5)
    assert keys.calls() - before < 10
    rmq.resume()
    assert sorted(ids(job.result(3))) == [1, 2, 3, 4]


@timed
def test_an_outstanding_delay_does_not_keep_consumers_busy(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(lease=1.2)
    rmq.publish(Order(order_id=1), delay=0.7)
    job = idle(rmq, max_messages=1)
    before = keys.calls()
    mode.sleep(0.5)
    assert keys.calls() - before < 10
    assert ids(job.result(3)) == [1]
