"""Consumers that crash: killed with -9 while they hold messages."""

from __future__ import annotations

import time

import pytest

from tests.conformance.conftest import Keys
from tests.conformance.crashed import Crashed
from tests.conformance.harness import Mode, Order, Recorder, ids, orders, timed
from typed_rmq import LeaseLost, Message, Queue, Retry

LEASE = 0.3


@timed
def test_f15_what_a_killed_consumer_held_is_delivered_again_within_the_lease(mode: Mode) -> None:
    recorder = Recorder()
    rmq = mode.open(lease=LEASE, observers=[recorder])
    receipt = rmq.publish(Order(order_id=1), headers={"a": "b"})
    crashed = Crashed(mode, lease=LEASE)
    assert (crashed.message_id, crashed.attempt) == (receipt.id, 1)
    came: list[float] = []

    def body(msg: Message[Order]) -> None:
        came.append(time.monotonic() - crashed.at)
        assert (msg.id, msg.attempt, msg.headers) == (receipt.id, 2, {"a": "b"})

    assert ids(rmq.each(body, max_messages=1)) == [1]
    # The lease, and what a busy machine needs to wake up.
    assert came[0] < LEASE + 0.5
    stats = rmq.stats()
    assert (stats.completed, stats.failed, stats.retried, stats.stale) == (1, 1, 1, 0)
    (event,) = recorder.told("reaped")
    assert (event.returned, event.buried) == ((receipt.id,), ())


@timed
def test_a_message_that_crashes_its_consumers_ends_as_a_dead_letter(mode: Mode) -> None:
    policy = Retry(max_attempts=2, backoff=0)
    rmq = mode.open(lease=LEASE, retry=policy)
    receipt = rmq.publish(Order(order_id=1))
    attempts = [Crashed(mode, lease=LEASE, retry=policy).attempt for _ in range(2)]
    assert attempts == [1, 2]
    assert rmq.each(idle_timeout=LEASE + 0.4) == []
    (letter,) = rmq.dead_list()
    assert letter.id == receipt.id
    assert "crashed or lost its lease in attempt 2 of 2" in letter.reason
    assert (letter.attempts, letter.payload) == (2, Order(order_id=1))
    # Its key is free.
    assert not rmq.publish(Order(order_id=1)).duplicate


@timed
def test_f15_batch_mates_of_a_crash_are_uncounted_and_delivered_alone(mode: Mode) -> None:
    rmq = mode.open(lease=LEASE, retry=Retry(max_attempts=1))
    rmq.publish_many(orders(1, 2, 3))
    Crashed(mode, lease=LEASE, prefetch=3)
    seen: list[tuple[int, int, int]] = []
    with Queue[Order](mode.queue_name, mode.url) as look:

        def body(msg: Message[Order]) -> None:
            seen.append((msg.payload.order_id, msg.attempt, look.stats().in_flight))

        assert ids(rmq.each(body, prefetch=10, max_messages=3)) == [1, 2, 3]
    # Nobody knows which one brought the consumer down: none has lost its only attempt.
    assert seen == [(1, 1, 1), (2, 1, 1), (3, 1, 1)]
    stats = rmq.stats()
    assert (stats.completed, stats.failed, stats.dead) == (3, 0, 0)


@timed
def test_a_poison_message_does_not_drag_its_batch_mates_down(mode: Mode) -> None:
    policy = Retry(max_attempts=1)
    rmq = mode.open(lease=LEASE, retry=policy)
    poison, *_ = rmq.publish_many(orders(1, 2, 3))
    Crashed(mode, lease=LEASE, prefetch=3, retry=policy)
    # Alone this time, and down again: now it is known which one it was.
    assert Crashed(mode, lease=LEASE, prefetch=3, retry=policy).message_id == poison.id
    assert ids(rmq.each(prefetch=10, idle_timeout=LEASE + 0.5)) == [2, 3]
    (letter,) = rmq.dead_list()
    assert letter.id == poison.id


@timed
def test_suspects_wait_for_empty_hands(mode: Mode) -> None:
    rmq = mode.open(lease=LEASE)
    rmq.publish_many(orders(1, 2))
    Crashed(mode, lease=LEASE, prefetch=2)
    rmq.publish_many(orders(3, 4))
    together: list[int] = []
    with Queue[Order](mode.queue_name, mode.url) as look:

        def handle(msg: Message[Order]) -> float:
            if msg.payload.order_id in (1, 2):
                together.append(look.stats().in_flight)
            return 0.02

        rmq.run(handle, concurrency=4, prefetch=4, max_messages=4)
    assert together == [1, 1]
    assert rmq.stats().completed == 4


@timed
def test_any_verdict_clears_the_suspicion(mode: Mode) -> None:
    rmq = mode.open(lease=LEASE, retry=Retry(backoff=0))
    rmq.publish_many(orders(1, 2))
    Crashed(mode, lease=LEASE, prefetch=2)
    first = rmq.receive(timeout=3)
    first.retry(delay=0)
    rmq.settle(first)
    second = rmq.receive(timeout=3)
    assert second.payload.order_id == 2
    second.ack()
    rmq.settle(second)
    rmq.publish(Order(order_id=3))
    held = [rmq.receive(timeout=1), rmq.receive(timeout=1)]
    assert [(msg.payload.order_id, msg.attempt) for msg in held] == [(1, 2), (3, 1)]
    for msg in held:
        msg.ack()


@timed
def test_an_idle_consumer_wakes_for_the_lease_of_another(mode: Mode) -> None:
    # Its own lease is long: it does not come by for other reasons.
    rmq = mode.open(lease=60)
    crashed = Crashed(mode, lease=LEASE, prefetch=1) if rmq.publish(Order(order_id=1)) else None
    assert crashed is not None
    assert ids(rmq.each(max_messages=1)) == [1]
    assert time.monotonic() - crashed.at < LEASE + 1.5


@timed
def test_f16_a_verdict_after_the_lease_was_lost_has_no_effect(mode: Mode, keys: Keys) -> None:
    recorder = Recorder()
    slow = mode.open(lease=60, observers=[recorder])
    receipt = slow.publish(Order(order_id=1))
    late = slow.receive()
    # As if the process had been stopped: its deadline passes without a renewal.
    (session,) = keys.client.zrange(keys("sessions"), 0, -1)
    keys.client.zadd(keys("sessions"), {session: 1})
    other = mode.open(lease=LEASE)
    taken = other.receive(timeout=3)
    assert (taken.id, taken.attempt) == (receipt.id, 2)
    late.ack()
    with pytest.raises(LeaseLost, match=receipt.id):
        slow.settle(late)
    assert late.lease_lost
    assert [event.message_id for event in recorder.told("stale")] == [receipt.id]
    taken.ack()
    other.settle(taken)
    stats = other.stats()
    assert (stats.completed, stats.stale, stats.in_flight) == (1, 1, 0)
    # Whoever lost a lease goes on under a new name.
    slow.publish(Order(order_id=2))
    again = slow.receive(timeout=1)
    again.ack()
    slow.settle(again)
    assert slow.stats().completed == 2


@timed
def test_f16_expired_but_not_reaped_the_verdict_counts(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(lease=60)
    rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    (session,) = keys.client.zrange(keys("sessions"), 0, -1)
    keys.client.zadd(keys("sessions"), {session: 1})
    msg.ack()
    rmq.settle(msg)
    assert (rmq.stats().completed, rmq.stats().stale) == (1, 0)


@timed
def test_f39_acks_that_were_not_sent_are_delivered_again(mode: Mode) -> None:
    """Bare loops ack with the next call: what Redis has not heard of is not done."""
    rmq = mode.open(lease=LEASE)
    rmq.publish(Order(order_id=1))
    Crashed(mode, lease=LEASE)
    assert rmq.stats().completed == 0
    assert ids(rmq.each(max_messages=1)) == [1]


@timed
def test_two_consumers_reap_one_crash_once(mode: Mode) -> None:
    rmq = mode.open(lease=LEASE)
    rmq.publish_many(orders(*range(5)))
    Crashed(mode, lease=LEASE, prefetch=5)
    jobs = [mode.open(lease=LEASE).later("each", idle_timeout=LEASE + 0.5) for _ in range(2)]
    taken = sorted(number for job in jobs for number in ids(job.result()))
    assert taken == [0, 1, 2, 3, 4]
    stats = rmq.stats()
    assert (stats.completed, stats.stale, stats.failed) == (5, 0, 0)


@timed
def test_a_crash_in_a_paused_queue_is_reaped_and_waits(mode: Mode) -> None:
    rmq = mode.open(lease=LEASE)
    rmq.publish(Order(order_id=1))
    Crashed(mode, lease=LEASE)
    rmq.pause()
    assert rmq.each(idle_timeout=LEASE + 0.5) == []
    stats = rmq.stats()
    assert (stats.ready, stats.in_flight) == (1, 0)
    rmq.resume()
    assert ids(rmq.consume_all()) == [1]
