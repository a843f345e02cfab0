"""Verdicts: what each does, and that a message takes only one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance.conftest import Keys
from tests.conformance.harness import (
    FAST,
    ONCE,
    BrokenError,
    Mode,
    Order,
    Recorder,
    broken,
    ids,
    orders,
    timed,
)
from typed_rmq import AlreadySettled, LeaseLost, Message, Retry, TypedRMQError

VERDICTS: dict[str, Callable[[Message[Any]], None]] = {
    "ack": lambda msg: msg.ack(),
    "retry": lambda msg: msg.retry(delay=60),
    "reject": lambda msg: msg.reject("no such customer"),
    "release": lambda msg: msg.release(),
}


def test_ack(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    rmq.consume_all(lambda msg: msg.ack())
    assert rmq.stats().completed == 1


@timed
def test_retry_comes_back_after_its_delay(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1), headers={"a": "b"}, priority="high")
    start = time.monotonic()
    rmq.consume_all(lambda msg: msg.retry(delay=timedelta(seconds=0.3)))
    stats = rmq.stats()
    assert (stats.delayed, stats.failed, stats.retried, stats.ready) == (1, 1, 1, 0)
    (seen,) = rmq.peek(state="delayed")
    assert (seen.attempt, seen.priority, seen.headers) == (2, "high", {"a": "b"})
    came = []
    rmq.each(lambda msg: came.append((time.monotonic() - start, msg.attempt)), max_messages=1)
    assert came[0][1] == 2
    assert 0.3 <= came[0][0] < 2


def test_retry_without_a_delay_follows_the_policy(mode: Mode) -> None:
    rmq = mode.open(retry=Retry(backoff=100, factor=3, max_backoff=1000, jitter="none"))
    rmq.publish(Order(order_id=1))
    rmq.consume_all(lambda msg: msg.retry())
    (seen,) = rmq.peek(state="delayed")
    assert 98 < (seen.due_at - datetime.now(UTC)).total_seconds() <= 100


def test_full_jitter_spreads_what_failed_together(mode: Mode) -> None:
    rmq = mode.open(retry=Retry(backoff=100))
    rmq.publish_many(orders(*range(40)))
    rmq.fail_all()
    now = datetime.now(UTC)
    delays = [(seen.due_at - now).total_seconds() for seen in rmq.peek(100, state="delayed")]
    assert len(delays) == 40
    assert all(-2 < delay <= 100 for delay in delays)
    assert max(delays) - min(delays) > 30


def test_retry_at_the_last_attempt_is_a_dead_letter(mode: Mode) -> None:
    rmq = mode.open(retry=Retry(max_attempts=2, backoff=0))
    rmq.publish(Order(order_id=1))
    assert ids(rmq.consume_all(lambda msg: msg.retry(delay=0))) == [1, 1]
    (letter,) = rmq.dead_list()
    assert "retry() was called in attempt 2 of 2" in letter.reason
    assert (letter.attempts, letter.error, letter.traceback) == (2, None, None)


def test_reject_is_final(mode: Mode) -> None:
    rmq = mode.open()
    receipt = rmq.publish(Order(order_id=1), headers={"a": "b"})
    assert ids(rmq.consume_all(lambda msg: msg.reject("no such customer"))) == [1]
    (letter,) = rmq.dead_list()
    assert letter.id == receipt.id
    assert letter.reason == "no such customer"
    assert letter.payload == Order(order_id=1)
    assert letter.attempts == 1
    assert letter.headers == {"a": "b"}
    stats = rmq.stats()
    assert (stats.dead, stats.dead_lettered, stats.failed, stats.retried) == (1, 1, 1, 0)


def test_release_goes_back_to_the_front_uncounted(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    msg = rmq.receive()
    msg.release()
    rmq.settle(msg)
    stats = rmq.stats()
    assert (stats.released, stats.failed, stats.ready) == (1, 0, 3)
    seen = []
    assert ids(rmq.consume_all(lambda msg: seen.append(msg.attempt))) == [1, 2, 3]
    assert seen == [1, 1, 1]


def test_released_ones_keep_their_order(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3, 4))
    taken = [rmq.receive() for _ in range(3)]
    for msg in taken:
        msg.release()
    rmq.settle(taken[-1])
    assert ids([seen.payload for seen in rmq.peek()]) == [1, 2, 3, 4]


@pytest.mark.parametrize("first", VERDICTS)
def test_a_message_takes_one_verdict(mode: Mode, first: str) -> None:
    rmq = mode.open()
    receipt = rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    assert msg.held
    VERDICTS[first](msg)
    assert not msg.held
    for again in (*VERDICTS.values(), lambda msg: msg.extend()):
        with pytest.raises(AlreadySettled, match=receipt.id) as caught:
            again(msg)
        assert caught.value.message_id == receipt.id
        assert caught.value.queue == mode.queue_name
    rmq.settle(msg)
    with pytest.raises(AlreadySettled):
        msg.ack()
    with msg:  # the block's end adds nothing
        pass
    with msg:
        raise BrokenError
    stats = rmq.stats()
    counts = (stats.completed, stats.delayed, stats.dead, stats.ready)
    assert counts == tuple(int(first == name) for name in VERDICTS)
    rmq.purge()


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_verdict_in_the_block_is_the_one_that_counts(mode: Mode, verdict: str) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))

    def body(msg: Message[Order]) -> str:
        VERDICTS[verdict](msg)
        return "break"

    rmq.each(body)
    mode.until(lambda: rmq.stats().in_flight == 0)
    stats = rmq.stats()
    counts = (stats.completed, stats.delayed, stats.dead, stats.ready)
    assert counts == tuple(int(verdict == name) for name in VERDICTS)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_verdict_in_a_bare_loop_is_the_one_that_counts(mode: Mode, verdict: str) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))

    seen: list[int] = []

    def body(msg: Message[Order]) -> None:
        seen.append(msg.payload.order_id)
        if seen == [1]:
            VERDICTS[verdict](msg)

    rmq.each(body, style="bare", max_messages=2)
    stats = rmq.stats()
    assert seen == ([1, 1] if verdict == "release" else [1, 2])
    assert stats.completed == 1 + (verdict == "ack")
    assert stats.ready + stats.delayed + stats.dead == (verdict != "ack")
    assert stats.released == (verdict == "release")


def test_a_verdict_before_an_exception_stands(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))

    def body(msg: Message[Order]) -> None:
        msg.ack()
        raise BrokenError

    rmq.consume_all(body)
    assert (rmq.stats().completed, rmq.stats().failed) == (1, 0)


# --- settle


def test_settle_waits_for_redis(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    msg.ack()
    rmq.settle(msg)
    assert int(keys.client.hget(keys("stats"), "completed")) == 1
    rmq.settle(msg)  # its answer is known


def test_settle_without_a_verdict_is_an_error(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    with pytest.raises(TypedRMQError, match="no verdict"):
        rmq.settle(msg)
    msg.ack()


def test_settle_says_that_another_consumer_owned_the_message(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    receipt = rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    # As reaping does it, when a process was stopped for longer than its lease.
    (session,) = keys.client.zrange(keys("sessions"), 0, -1)
    keys.client.delete(keys(f"inflight:{session.decode()}"))
    msg.ack()
    with pytest.raises(LeaseLost, match=receipt.id) as caught:
        rmq.settle(msg)
    assert caught.value.message_id == receipt.id
    assert caught.value.queue == mode.queue_name
    stats = rmq.stats()
    assert (stats.completed, stats.stale) == (0, 1)
    with pytest.raises(LeaseLost):
        msg.ack()


def test_settle_with_many_verdicts_sends_them_together(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(10)))
    taken = [rmq.receive() for _ in range(10)]
    before = keys.calls()
    for number, msg in enumerate(taken):
        list(VERDICTS.values())[number % 4](msg)
    rmq.settle(taken[0])
    assert keys.calls() - before <= 2
    for msg in taken:
        rmq.settle(msg)
    assert keys.calls() - before <= 2
    stats = rmq.stats()
    assert (stats.completed, stats.delayed, stats.dead, stats.ready) == (3, 3, 2, 2)


# --- extend, and the lease


@timed
def test_f38_a_handler_may_outlive_the_lease(mode: Mode) -> None:
    rmq = mode.open(lease=0.4)
    rmq.publish(Order(order_id=1))
    lost = []
    job = rmq.later("each", lambda msg: 1.2, max_messages=1)
    mode.until(lambda: rmq.stats().in_flight == 1)
    # Another consumer waits for it to fall.
    other = mode.open(lease=0.4)
    assert other.each(lambda msg: lost.append(msg.id), idle_timeout=0.9) == []
    assert ids(job.result()) == [1]
    stats = rmq.stats()
    assert (stats.completed, stats.failed, stats.stale, lost) == (1, 0, 0, [])


@timed
def test_f38_a_prefetched_batch_may_outlive_the_lease(mode: Mode) -> None:
    rmq = mode.open(lease=0.4)
    rmq.publish_many(orders(*range(6)))
    job = rmq.later("each", lambda msg: 0.15, prefetch=6, max_messages=6)
    other = mode.open(lease=0.4)
    mode.until(lambda: rmq.stats().in_flight == 6)
    assert other.each(idle_timeout=0.6) == []
    assert ids(job.result()) == list(range(6))
    assert (rmq.stats().completed, rmq.stats().stale) == (6, 0)


@timed
def test_a_received_message_keeps_its_lease(mode: Mode) -> None:
    rmq = mode.open(lease=0.4)
    rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    mode.sleep(1.0)
    assert not msg.lease_lost
    other = mode.open(lease=0.4)
    assert other.receive(timeout=0.3) is None
    msg.ack()
    rmq.settle(msg)


def test_extend_renews_the_lease_now(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(lease=60)
    rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    before = keys.client.zrange(keys("sessions"), 0, -1, withscores=True)[0][1]
    mode.sleep(0.01)
    msg.extend()
    mode.until(
        lambda: keys.client.zrange(keys("sessions"), 0, -1, withscores=True)[0][1] > before, 2
    )
    msg.ack()


# --- failures and attempts


@pytest.mark.parametrize("attempts", [1, 3])
def test_attempts_are_counted_up_to_the_dead_letter(
    mode: Mode, attempts: int, caplog: pytest.LogCaptureFixture
) -> None:
    rmq = mode.open(retry=Retry(max_attempts=attempts, backoff=0))
    receipt = rmq.publish(Order(order_id=1), headers={"a": "b"})
    seen = []

    def body(msg: Message[Order]) -> None:
        seen.append(msg.attempt)
        assert msg.id == receipt.id
        broken(msg)

    rmq.consume_all(body)
    assert seen == list(range(1, attempts + 1))
    (letter,) = rmq.dead_list()
    assert letter.id == receipt.id
    assert letter.payload == Order(order_id=1)
    assert letter.raw == b'{"order_id":1,"sku":"A-1"}'
    assert letter.reason == f"its handler raised in attempt {attempts} of {attempts}"
    assert letter.error == "BrokenError: out of paper"
    assert "in broken" in letter.traceback
    assert letter.traceback.startswith("Traceback")
    assert letter.attempts == attempts
    assert letter.headers == {"a": "b"}
    assert abs(letter.died_at - datetime.now(UTC)) < timedelta(seconds=5)
    assert letter.published_at <= letter.died_at
    stats = rmq.stats()
    assert (stats.failed, stats.retried, stats.dead_lettered) == (attempts, attempts - 1, 1)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == attempts
    assert all(record.name == "typed_rmq" and record.exc_info for record in errors)
    assert "a dead letter now" in errors[-1].getMessage()


def test_a_failing_message_does_not_stop_the_others(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE)
    rmq.publish_many(orders(*range(10)))

    def body(msg: Message[Order]) -> None:
        if msg.payload.order_id % 3 == 0:
            broken(msg)

    assert ids(rmq.consume_all(body)) == list(range(10))
    assert (rmq.stats().completed, rmq.stats().dead) == (6, 4)


def test_a_failed_message_that_comes_back_at_once_goes_to_the_end(mode: Mode) -> None:
    rmq = mode.open(retry=FAST)
    rmq.publish_many(orders(1, 2, 3))

    def body(msg: Message[Order]) -> None:
        if msg.attempt == 1 and msg.payload.order_id == 1:
            broken(msg)

    assert ids(rmq.consume_all(body, prefetch=1)) == [1, 2, 3, 1]


def test_a_long_traceback_is_cut(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    # Captured, the lone surrogate would break the channel of parallel test runs.
    caplog.set_level(logging.CRITICAL, "typed_rmq")
    rmq = mode.open(retry=ONCE)
    rmq.publish(Order(order_id=1))

    def body(_: object) -> None:
        raise BrokenError("x" * 100_000 + "\ud800")

    rmq.consume_all(body)
    (letter,) = rmq.dead_list()
    assert len(letter.traceback.encode()) <= 16 * 1024
    assert len(letter.error.encode()) <= 2048
    assert letter.error.startswith("BrokenError: xxx")


def test_the_verdict_is_told_to_observers(mode: Mode) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder])
    rmq.publish_many(orders(0, 1, 2, 3))
    taken = [rmq.receive() for _ in range(4)]
    for msg, verdict in zip(taken, VERDICTS.values(), strict=True):
        verdict(msg)
    rmq.settle(taken[-1])
    outcomes = {event.message_id: event.outcome for event in recorder.told("settled")}
    assert [outcomes[msg.id] for msg in taken] == ["done", "retried", "dead", "released"]
    (dead,) = recorder.told("dead")
    assert (dead.message_id, dead.reason) == (taken[2].id, "no such customer")
    (retried,) = recorder.told("retried")
    assert (retried.message_id, retried.delay) == (taken[1].id, 60.0)
