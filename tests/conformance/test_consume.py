"""Consuming: the loops and their options."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.conformance.conftest import Keys
from tests.conformance.harness import FAST, Mode, Order, ids, orders, timed
from typed_rmq import AlreadySettled, ConfigError, Message, Queue

STYLES = ["with", "bare"]


@pytest.mark.parametrize("style", STYLES)
def test_a_loop_acks_what_it_has_handled(mode: Mode, style: str, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(20)))
    assert ids(rmq.consume_all(style=style)) == list(range(20))
    stats = rmq.stats()
    assert (stats.completed, stats.ready, stats.in_flight, stats.consumers) == (20, 0, 0, 0)
    assert (stats.failed, stats.released, stats.stale) == (0, 0, 0)
    # Nothing is left but what has to be: counters, dedup keys, and lanes that end by themselves.
    left = {key.split(":")[0] for key in keys.all()}
    assert left <= {"stats", "dedup", "lane", "meta"}
    assert all(keys.client.ttl(keys(key)) > 0 for key in keys.all() if key.startswith("lane"))


def test_a_loop_over_the_queue_itself(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))

    def body(msg: Message[Order]) -> str | None:
        return "break" if msg.payload.order_id == 2 else None

    assert ids(rmq.each(body, source=rmq.queue)) == [1, 2]
    mode.until(lambda: rmq.stats().completed == 2)
    assert ids(rmq.consume_all()) == [3]


def test_until_empty_ends_at_once_on_an_empty_queue(mode: Mode) -> None:
    rmq = mode.open()
    start = time.monotonic()
    assert rmq.consume_all() == []
    assert time.monotonic() - start < 1


def test_until_empty_takes_what_comes_meanwhile(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=0))
    with Queue[Order](mode.queue_name, mode.url) as other:

        def body(msg: Message[Order]) -> None:
            if msg.payload.order_id < 4:
                other.publish(Order(order_id=msg.payload.order_id + 1))

        assert ids(rmq.consume_all(body)) == [0, 1, 2, 3, 4]


def test_idle_timeout_ends_a_loop_that_waits(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    start = time.monotonic()
    assert ids(rmq.each(idle_timeout=0.2)) == [1, 2]
    assert 0.2 <= time.monotonic() - start < 1.5


@timed
def test_idle_timeout_counts_from_the_last_message(mode: Mode) -> None:
    rmq = mode.open()
    job = rmq.later("each", idle_timeout=0.4)
    start = time.monotonic()
    mode.sleep(0.25)
    rmq.publish(Order(order_id=1))
    assert ids(job.result()) == [1]
    assert time.monotonic() - start >= 0.6


def test_idle_timeout_is_not_taken_from_the_handler(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    assert ids(rmq.each(lambda msg: 0.08, idle_timeout=0.05, prefetch=1)) == [1, 2, 3]


@pytest.mark.parametrize("prefetch", ["auto", 1, 2, 100])
def test_max_messages_takes_no_more(mode: Mode, prefetch: Any) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(10)))
    assert ids(rmq.each(max_messages=7, prefetch=prefetch)) == list(range(7))
    stats = rmq.stats()
    assert (stats.completed, stats.ready, stats.in_flight, stats.released) == (7, 3, 0, 0)


@pytest.mark.parametrize("prefetch", [1, 3, 10, 1000])
def test_a_fixed_prefetch_fetches_as_many(mode: Mode, prefetch: int) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(12)))
    held = []
    with Queue[Order](mode.queue_name, mode.url) as other:

        def body(msg: Message[Order]) -> None:
            if not held:
                held.append(other.stats().in_flight)

        assert ids(rmq.consume_all(body, prefetch=prefetch)) == list(range(12))
    assert held == [min(prefetch, 12)]


def test_adaptive_prefetch_grows_while_messages_are_quick(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(255)))
    rmq.stats()
    before = keys.calls()
    assert len(rmq.consume_all(ack_linger=5)) == 255
    # 1 + 2 + 4 + ... + 128 are 255: eight claims, one that finds nothing, and a goodbye; a slow
    # machine may hold back a doubling or two.
    assert keys.calls() - before <= 16


def test_adaptive_prefetch_stays_small_where_messages_are_slow(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3, 4))
    held = []
    with Queue[Order](mode.queue_name, mode.url) as other:

        def body(msg: Message[Order]) -> float:
            held.append(other.stats().in_flight)
            return 0.06

        rmq.consume_all(body)
    assert held == [1, 1, 1, 1]


def test_a_message_costs_one_round_trip(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(50)))
    rmq.consume_all()  # the server learns the script
    rmq.publish_many(orders(*range(100, 150)))
    before = keys.calls()
    assert len(rmq.consume_all(prefetch=1, ack_linger=5)) == 50
    assert keys.calls() - before <= 50 + 2


def test_an_ack_lingers_and_then_leaves_by_itself(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    taken = []

    def body(msg: Message[Order]) -> None:
        msg.ack()
        taken.append(msg)

    job = rmq.later("each", body, max_messages=2, ack_linger=0.02)
    mode.until(lambda: taken)
    mode.until(lambda: rmq.stats().completed == 1)
    assert not job.done
    rmq.publish(Order(order_id=2))
    job.result()


@timed
def test_what_is_stuck_behind_a_slow_message_is_given_back(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    slow = rmq.later("each", lambda msg: 1.6, prefetch=3, until_empty=True)
    mode.until(lambda: rmq.stats().in_flight == 3)
    other = mode.open()
    start = time.monotonic()
    assert ids(other.each(max_messages=2)) == [2, 3]
    assert time.monotonic() - start < 1.5
    slow.result()
    stats = rmq.stats()
    assert (stats.completed, stats.released, stats.failed) == (3, 2, 0)


# --- stop


def test_stop_from_a_thread_wakes_a_loop_that_waits(mode: Mode) -> None:
    rmq = mode.open()
    consumer = rmq.queue.consume(stop_on_signals=False)
    job = mode.spawn(rmq.operations.each, source=consumer)
    mode.until(lambda: rmq.stats().consumers == 1)
    mode.sleep(0.05)
    stopper = threading.Thread(target=consumer.stop)
    stopper.start()
    start = time.monotonic()
    assert job.result() == []
    assert time.monotonic() - start < 1
    stopper.join()
    assert rmq.stats().consumers == 0


def test_a_stopped_consumer_hands_out_nothing(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    consumer = rmq.queue.consume()
    consumer.stop()
    assert rmq.each(source=consumer) == []
    assert rmq.stats().ready == 1


def test_a_consumer_can_be_looped_over_again(mode: Mode) -> None:
    rmq = mode.open()
    consumer = rmq.queue.consume(until_empty=True)
    for n in (1, 2):
        rmq.publish(Order(order_id=n))
        assert ids(rmq.each(source=consumer)) == [n]


@pytest.mark.parametrize("managed", [True, False])
def test_several_consumers_share_the_work(mode: Mode, managed: bool) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(60)))
    jobs = [
        rmq.later("each", lambda msg: 0.001, until_empty=True, prefetch=5, managed=managed)
        for _ in range(3)
    ]
    taken = [ids(job.result()) for job in jobs]
    assert sorted(number for numbers in taken for number in numbers) == list(range(60))
    assert sum(1 for each in taken if each) >= 2
    assert rmq.stats().completed == 60


@pytest.mark.servers("valkey")
@pytest.mark.parametrize(
    "options",
    [
        {"prefetch": 0},
        {"prefetch": 1001},
        {"prefetch": True},
        {"ack_linger": -1},
        {"idle_timeout": -1},
        {"idle_timeout": float("nan")},
        {"max_messages": 0},
    ],
)
def test_options_out_of_range(mode: Mode, options: dict[str, Any]) -> None:
    rmq = mode.open()
    with pytest.raises(ConfigError):
        rmq.queue.consume(**options)
    with pytest.raises(ConfigError):
        rmq.run(lambda order: None, **options)


# --- one message at a time


def test_receive_takes_one_message(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    msg = rmq.receive()
    assert msg.payload == Order(order_id=1)
    assert rmq.stats().in_flight == 1
    with msg as order:
        assert order.order_id == 1
    rmq.settle(msg)
    assert rmq.stats().completed == 1
    msg = rmq.receive()
    msg.ack()
    with pytest.raises(AlreadySettled):
        msg.ack()


def test_receive_does_not_wait(mode: Mode) -> None:
    rmq = mode.open()
    start = time.monotonic()
    assert rmq.receive() is None
    assert rmq.receive(timeout=0) is None
    assert time.monotonic() - start < 1
    rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    msg.ack()
    assert rmq.receive() is None


def test_receive_waits_as_long_as_it_is_told(mode: Mode) -> None:
    rmq = mode.open()
    start = time.monotonic()
    assert rmq.receive(timeout=0.2) is None
    assert 0.2 <= time.monotonic() - start < 1
    job = rmq.later("receive", timeout=5)
    mode.sleep(0.05)
    rmq.publish(Order(order_id=1))
    msg = job.result(2)
    assert msg.payload.order_id == 1
    msg.ack()


def test_receive_without_a_limit_waits_for_a_message(mode: Mode) -> None:
    rmq = mode.open()
    job = rmq.later("receive", timeout=None)
    mode.sleep(0.05)
    assert not job.done
    rmq.publish(Order(order_id=1))
    msg = job.result(2)
    msg.ack()


def test_several_received_at_once(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))
    taken = [rmq.receive() for _ in range(3)]
    assert ids([msg.payload for msg in taken]) == [1, 2, 3]
    assert rmq.stats().in_flight == 3
    for msg in reversed(taken):
        msg.ack()
        rmq.settle(msg)
    assert rmq.stats().completed == 3


def test_a_received_message_that_is_dropped_counts_as_failed(mode: Mode) -> None:
    rmq = mode.open(retry=FAST)
    rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    assert msg.attempt == 1
    del msg
    mode.until(lambda: rmq.stats().failed == 1)
    msg = rmq.receive(timeout=2)
    assert msg.attempt == 2
    msg.ack()


def test_received_and_unsettled_at_close_counts_as_failed(mode: Mode) -> None:
    rmq = mode.open(retry=FAST)
    rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    rmq.close()
    stats = mode.open(name=mode.queue_name).stats()
    assert (stats.failed, stats.in_flight, stats.ready, stats.consumers) == (1, 0, 1, 0)
    with pytest.raises(AlreadySettled):
        msg.ack()


def test_stop_ends_a_loop_after_the_message_in_hand(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(10)))
    consumer = rmq.queue.consume(prefetch=5)

    def body(msg: Message[Order]) -> None:
        if msg.payload.order_id == 3:
            consumer.stop()

    assert ids(rmq.each(body, source=consumer)) == [0, 1, 2, 3]
    stats = rmq.stats()
    assert (stats.completed, stats.ready, stats.in_flight, stats.failed) == (4, 6, 0, 0)
    # What goes back goes to the front, in its order and as new.
    seen = []
    assert ids(rmq.consume_all(lambda msg: seen.append(msg.attempt))) == list(range(4, 10))
    assert seen == [1] * 6


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("options", [{"prefetch": "many"}, {"max_messages": "all"}])
def test_options_of_a_wrong_type(mode: Mode, options: dict[str, Any]) -> None:
    rmq = mode.open()
    with pytest.raises(ConfigError):
        rmq.queue.consume(**options)
