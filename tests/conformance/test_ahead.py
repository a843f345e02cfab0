"""Batches are claimed while others are handled: nobody else must notice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

import pytest

from tests.conformance.conftest import Keys
from tests.conformance.harness import Mode, Order, ids, orders, timed
from typed_rmq import Message, Queue
from typed_rmq.async_session import AsyncSession
from typed_rmq.sync_session import SyncSession


def test_never_more_is_held_than_the_prefetch(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(300)))
    held = []
    with Queue[Order](mode.queue_name, mode.url) as other:

        def body(msg: Message[Order]) -> None:
            if msg.payload.order_id % 7 == 0:
                held.append(other.stats().in_flight)

        assert ids(rmq.consume_all(body, prefetch=40)) == list(range(300))
    # An ack on its way is held, too.
    assert max(held) <= 2 * 40
    assert rmq.stats().released == 0


def test_all_is_handled_once_and_in_order(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(2_000)))
    before = keys.calls()
    assert ids(rmq.consume_all(ack_linger=5)) == list(range(2_000))
    assert keys.calls() - before < 100
    stats = rmq.stats()
    assert (stats.completed, stats.ready, stats.in_flight) == (2_000, 0, 0)
    assert (stats.released, stats.stale, stats.failed) == (0, 0, 0)


@timed
def test_acks_that_leave_with_a_claim_need_no_call_of_their_own(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[float] = []
    for shell in (SyncSession, AsyncSession):
        flush: Callable[..., object] = shell._flush

        def counted(*args: object, flush: Callable[..., object] = flush) -> object:
            alone.append(monotonic())
            return flush(*args)

        monkeypatch.setattr(shell, "_flush", counted)
    rmq = mode.open()
    rmq.publish_many(orders(*range(600)))
    # A claim every 20 ms, for three times as long as an ack may linger.
    assert len(rmq.consume_all(lambda _: 0.002, prefetch=20, ack_linger=0.4)) == 600
    assert not alone


@timed
def test_what_was_claimed_ahead_is_not_stuck_behind_a_slow_message(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(100)))
    slow = rmq.later(
        "each",
        lambda msg: 2.5 if msg.payload.order_id == 25 else None,
        prefetch=40,
        max_messages=None,
        until_empty=True,
    )
    mode.until(lambda: rmq.stats().completed >= 25)
    other = mode.open()
    taken = ids(other.each(idle_timeout=1.2))
    assert set(range(40, 100)) <= set(taken)
    first = ids(slow.result())
    assert sorted(first + taken) == list(range(100))
    stats = rmq.stats()
    assert (stats.completed, stats.in_flight, stats.failed) == (100, 0, 0)


def test_a_loop_left_in_the_middle_gives_back_what_was_claimed_ahead(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(100)))
    left = ids(rmq.each(lambda msg: "break" if msg.payload.order_id == 33 else None, prefetch=40))
    assert left == list(range(34))
    mode.until(lambda: rmq.stats().in_flight == 0)
    assert ids(rmq.consume_all()) == list(range(34, 100))
    stats = rmq.stats()
    assert (stats.completed, stats.failed, stats.dead) == (100, 0, 0)


@timed
def test_what_was_claimed_ahead_does_not_wait_for_workers_that_are_all_busy(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(20)))
    with Queue[Order](mode.queue_name, mode.url) as other:
        more, in_turn = [orders(*range(20, 30))], threading.Lock()
        for shell in (SyncSession, AsyncSession):
            ahead: Callable[..., None] = shell.claim_ahead

            def claimed(session: object, ahead: Callable[..., None] = ahead) -> None:
                with in_turn:
                    if more:  # they come behind the first batch, and before the next claim
                        other.publish_many(more.pop())
                    ahead(session)

            monkeypatch.setattr(shell, "claim_ahead", claimed)
        done = threading.Event()
        run = rmq.queue.run if mode.name == "sync" else rmq.queue.arun
        workers = mode.spawn(
            run,
            lambda _: done.wait(),
            concurrency=20,
            prefetch=64,
            until_empty=True,
            stop_on_signals=False,
        )
        try:
            mode.until(lambda: other.stats().in_flight == 30)
            mode.until(lambda: other.stats().ready == 10)
        finally:
            done.set()
    workers.result()
    assert rmq.stats().completed == 30
