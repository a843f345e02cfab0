"""Pages of peek, one message by its id, delayed ones before their time, and who consumes."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from tests.conformance.conftest import Keys
from tests.conformance.harness import FAST, ONCE, Mode, Order, Rmq, ids, orders
from typed_rmq import ConfigError, Retry
from typed_rmq.results import State

STATES: tuple[State, ...] = ("ready", "delayed", "in_flight", "dead", "done")


def fill(mode: Mode) -> tuple[Rmq, list[Any]]:
    """Seven messages in each state, the ready ones in several lists; and those in hand."""
    rmq = mode.open(retry=ONCE, keep_done=100, lease=30)
    rmq.publish_many(orders(*range(7)))
    taken = [rmq.receive() for _ in range(7)]
    for msg in taken:
        msg.ack()
    rmq.settle(taken[-1])
    rmq.publish_many(orders(*range(10, 17)))
    rmq.fail_all()
    rmq.publish_many(orders(*range(20, 27)))
    held = [rmq.receive() for _ in range(7)]
    rmq.publish_many(orders(*range(30, 37)), delay=60)
    rmq.publish_many(orders(40, 41), priority="high")
    rmq.publish_many(orders(42, 43, 44))
    rmq.publish_many(orders(45, 46), priority="low")
    return rmq, held


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10])
def test_pages_show_everything_once_and_in_order(mode: Mode, size: int) -> None:
    rmq, held = fill(mode)
    for state in STATES:
        whole = rmq.peek(100, state)
        assert len(whole) == 7, state
        paged: list[Any] = []
        while page := rmq.peek(size, state, after=paged[-1] if paged else None):
            assert len(page) <= size
            paged += page
        assert paged == whole
    for msg in held:
        msg.release()


def test_a_page_follows_only_one_of_its_own_state(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    (seen,) = rmq.peek()
    with pytest.raises(ConfigError, match="no page of delayed can follow"):
        rmq.peek(1, "delayed", after=seen)
    assert rmq.peek(1, after=seen.cursor) == []
    for state, cursor in (
        ("ready", "1-1"),
        ("dead", "1"),
        ("done", "9" * 20 + "-1"),
        ("ready", "x"),
    ):
        with pytest.raises(ConfigError, match="is no cursor"):
            rmq.peek(1, state, after=cursor)


def test_every_message_is_found_by_its_id(mode: Mode) -> None:
    rmq, held = fill(mode)
    for state in STATES:
        for seen in rmq.peek(100, state):
            assert rmq.find(seen.id) == seen
    assert rmq.find("nosuchmessage") is None
    assert rmq.find("") is None
    for msg in held:
        msg.release()


def test_a_message_is_found_behind_thousands_of_others(mode: Mode) -> None:
    rmq = mode.open(dedup=None)
    rmq.publish_many(orders(*range(1500)), batch=1000)
    rmq.publish_many(orders(*range(1200)), batch=1000, delay=60)
    ready = rmq.publish(Order(order_id=7), priority="low")
    delayed = rmq.publish(Order(order_id=8), delay=90)
    assert (rmq.find(ready.id).state, rmq.find(delayed.id).state) == ("ready", "delayed")
    assert rmq.find(ready.id, limit=1000) is None


def test_a_delayed_message_is_made_ready(mode: Mode) -> None:
    rmq = mode.open()
    first, second, third = rmq.publish_many(orders(1, 2, 3), delay=60)
    ready = rmq.publish(Order(order_id=4))
    assert rmq.promote(second.id, ready.id, "nosuchmessage") == 1
    stats = rmq.stats()
    assert (stats.ready, stats.delayed) == (2, 2)
    assert ids(rmq.consume_all()) == [4, 2]
    assert rmq.promote(first.id, third.id) == 2
    assert sorted(ids(rmq.consume_all())) == [1, 3]
    assert rmq.promote() == 0


def test_all_delayed_messages_are_made_ready_in_their_lists(mode: Mode) -> None:
    rmq = mode.open(dedup=None)
    rmq.publish_many(orders(*range(1200)), batch=1000, delay=60)
    last = rmq.publish(Order(order_id=9001), delay=90)
    rmq.publish(Order(order_id=9000), delay=120, priority="high")
    assert rmq.promote(last.id) == 1
    assert rmq.promote() == 1201
    assert rmq.stats().delayed == 0
    assert ids([seen.payload for seen in rmq.peek(2)]) == [9000, 9001]


def test_a_retry_that_waits_is_promoted_with_its_attempt(mode: Mode) -> None:
    rmq = mode.open(retry=Retry(backoff=600, max_backoff=600, jitter="none"))
    receipt = rmq.publish(Order(order_id=1))
    rmq.fail_all()
    assert rmq.promote(receipt.id) == 1
    (seen,) = rmq.peek()
    assert (seen.id, seen.attempt) == (receipt.id, 2)


def test_promotion_wakes_an_idle_consumer_but_not_a_paused_queue(mode: Mode) -> None:
    rmq = mode.open(retry=FAST)
    receipt = rmq.publish(Order(order_id=1), delay=600)
    job = rmq.later("each", max_messages=1)
    mode.until(lambda: rmq.stats().consumers == 1)
    rmq.pause()
    assert rmq.promote(receipt.id) == 1
    assert rmq.stats().ready == 1
    rmq.resume()
    assert ids(job.result()) == [1]
    second = rmq.publish(Order(order_id=2), delay=600)
    job = rmq.later("each", max_messages=1)
    mode.until(lambda: rmq.stats().consumers == 1)
    assert rmq.promote(second.id) == 1
    assert ids(job.result()) == [2]


def test_a_consumer_says_where_it_runs_and_what_it_holds(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(lease=30)
    assert rmq.consumers() == []
    receipt = rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    (seen,) = rmq.consumers()
    assert seen.pid == os.getpid()
    assert seen.host == socket.gethostname()
    assert 0 < seen.lease <= 30
    assert (seen.holding, seen.message_ids) == (1, (receipt.id,))
    (held,) = rmq.peek(state="in_flight")
    assert held.consumer == seen.session
    msg.ack()
    rmq.settle(msg)
    (seen,) = rmq.consumers()
    assert (seen.holding, seen.message_ids) == (0, ())
    # One of an older version, or of somebody else's making, whose lease has run out.
    keys.client.zadd(keys("sessions"), {"b" * 16: 1})
    older = rmq.consumers()[0]
    assert (older.session, older.host, older.pid) == ("b" * 16, "", 0)
    assert older.lease < 0
