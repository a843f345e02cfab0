"""A verdict reaches Redis soon after it was given, whatever the rest of its consumer is at."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.conformance.conftest import Keys
from tests.conformance.harness import Mode, Order, orders, timed
from typed_rmq import Message, Queue, TypedRMQError
from typed_rmq.commands import Command, CycleReply
from typed_rmq.session import Session
from typed_rmq.steps import Cycle

CHORE_FAILED = "a chore of the consumer failed"


@contextlib.contextmanager
def broken_stats(keys: Keys) -> Iterator[None]:
    """No call of a consumer is done, and none is tried again by its driver."""
    keys.client.rename(keys("stats"), keys("saved"))
    keys.client.set(keys("stats"), "foreign")
    try:
        yield
    finally:
        keys.client.rename(keys("saved"), keys("stats"))


@timed
def test_a_call_that_failed_is_repeated_while_another_message_is_handled(
    mode: Mode, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    first, second = rmq.receive(), rmq.receive()
    with broken_stats(keys):
        first.ack()
        mode.until(lambda: CHORE_FAILED in caplog.text)
    mode.until(lambda: rmq.stats().completed == 1)
    second.ack()


@timed
def test_a_call_that_fails_is_not_repeated_in_a_hurry(
    mode: Mode, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    first, second, third = rmq.receive(), rmq.receive(), rmq.receive()
    with broken_stats(keys):
        first.ack()
        mode.until(lambda: CHORE_FAILED in caplog.text)
        # It waits behind the call that failed.
        second.ack()
        mode.sleep(1.4)
        assert 2 <= caplog.text.count(CHORE_FAILED) <= 5
    mode.until(lambda: rmq.stats().completed == 2)
    third.ack()


@timed
def test_a_receive_that_failed_does_not_keep_an_ack(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    message = rmq.receive()
    with broken_stats(keys):
        message.ack()
        with pytest.raises(TypedRMQError):
            rmq.receive()
    mode.until(lambda: rmq.stats().completed == 1)


@timed
def test_what_cannot_be_read_does_not_wait_for_the_message_behind_it(mode: Mode) -> None:
    with Queue[str](mode.queue_name, mode.url) as other:
        other.publish("no order")
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    slow = rmq.later("each", lambda _: 2.0, prefetch=2, until_empty=True)
    mode.until(lambda: rmq.stats().dead == 1)
    assert not slow.done
    slow.result()


def by_another(call: object) -> None:
    """Run it in another thread, to its end."""
    assert callable(call)
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_a_verdict_of_a_worker_while_a_claim_is_made_leaves_soon(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    held: list[Message[Order]] = [rmq.receive(), rmq.receive(), rmq.receive()]
    make = Session.cycle_command

    def made(session: Session[Order], request: Cycle) -> Command[CycleReply]:
        # What this call takes along is settled: what is recorded now must leave with another.
        if len(held) == 2:
            by_another(held.pop().ack)
        command = make(session, request)
        if len(held) == 1:
            by_another(held.pop().ack)
        return command

    monkeypatch.setattr(Session, "cycle_command", made)
    held.pop(0).ack()
    mode.until(lambda: rmq.stats().completed == 3)


def test_a_verdict_while_the_keeper_works_out_when_it_is_due_leaves_soon(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    first, second = rmq.receive(), rmq.receive()
    mode.until(lambda: rmq.stats().in_flight == 2)
    look = Session.next_chore
    waiting = [second.ack, first.ack]

    def looked(session: Session[Order], armed_at: float | None) -> float | None:
        due = look(session, armed_at)
        if armed_at is None and len(waiting) == 1:
            by_another(waiting.pop())
        return due

    monkeypatch.setattr(Session, "next_chore", looked)
    waiting.pop()()
    mode.until(lambda: rmq.stats().completed == 2, 5)
