"""max_length: raise, block, or drop the oldest."""

from __future__ import annotations

import time

import pytest

from tests.conformance.harness import FAST, Mode, Order, Recorder, ids, orders
from typed_rmq import QueueFull, Receipt


def test_a_full_queue_raises_and_stores_nothing(mode: Mode) -> None:
    rmq = mode.open(max_length=2)
    rmq.publish_many(orders(1, 2))
    with pytest.raises(QueueFull, match="max_length") as caught:
        rmq.publish(Order(order_id=3))
    assert caught.value.queue == mode.queue_name
    stats = rmq.stats()
    assert (stats.ready, stats.published, stats.duplicates, stats.dropped) == (2, 2, 0, 0)
    # The refused one has taken no dedup key.
    assert ids(rmq.consume_all()) == [1, 2]
    assert not rmq.publish(Order(order_id=3)).duplicate


def test_a_duplicate_needs_no_room(mode: Mode) -> None:
    rmq = mode.open(max_length=1)
    first = rmq.publish(Order(order_id=1))
    assert rmq.publish(Order(order_id=1)) == Receipt(first.id, duplicate=True)


def test_a_batch_is_refused_whole(mode: Mode) -> None:
    rmq = mode.open(max_length=5)
    rmq.publish_many(orders(1, 2, 3))
    with pytest.raises(QueueFull, match="3 more do not fit"):
        rmq.publish_many(orders(4, 5, 6))
    assert rmq.stats().ready == 3
    # Batches that fit are stored before one that does not.
    with pytest.raises(QueueFull):
        rmq.publish_many(orders(4, 5, 6, 7), batch=2)
    assert ids(rmq.consume_all()) == [1, 2, 3, 4, 5]


def test_duplicates_in_a_batch_need_no_room(mode: Mode) -> None:
    rmq = mode.open(max_length=3)
    rmq.publish_many(orders(1, 2))
    receipts = rmq.publish_many(orders(1, 2, 3, 3))
    assert [receipt.duplicate for receipt in receipts] == [True, True, False, True]


def test_delayed_ones_count_and_those_in_flight_do_not(mode: Mode) -> None:
    rmq = mode.open(max_length=2)
    rmq.publish(Order(order_id=1), delay=60)
    rmq.publish(Order(order_id=2), priority="low")
    with pytest.raises(QueueFull):
        rmq.publish(Order(order_id=3))
    taken = rmq.receive()
    assert taken.payload.order_id == 2
    rmq.publish(Order(order_id=3))
    # What comes back is never dropped, and never refused.
    taken.release()
    rmq.settle(taken)
    assert rmq.stats().ready == 2
    with pytest.raises(QueueFull):
        rmq.publish(Order(order_id=4))


def test_a_retry_into_a_full_queue_is_kept(mode: Mode) -> None:
    rmq = mode.open(max_length=1, overflow="drop_oldest", retry=FAST)
    rmq.publish(Order(order_id=1))
    taken = rmq.receive()
    rmq.publish(Order(order_id=2))
    taken.retry(delay=0)
    rmq.settle(taken)
    assert sorted(ids(rmq.consume_all())) == [1, 2]
    assert rmq.stats().dropped == 0


# --- block


def test_a_publisher_waits_for_room(mode: Mode) -> None:
    rmq = mode.open(max_length=2, overflow="block")
    rmq.publish_many(orders(1, 2))
    start = time.monotonic()
    waiting = rmq.later("publish", Order(order_id=3))
    mode.sleep(0.1)
    assert not waiting.done
    consumer = mode.open()
    assert ids(consumer.each(max_messages=1)) == [1]
    receipt = waiting.result(2)
    assert not receipt.duplicate
    assert time.monotonic() - start < 2
    assert ids(rmq.consume_all()) == [2, 3]
    assert rmq.stats().published == 3


def test_many_waits_batch_by_batch(mode: Mode) -> None:
    rmq = mode.open(max_length=3, overflow="block")
    waiting = rmq.later("publish_many", orders(*range(10)), batch=100)
    consumer = mode.open()
    assert ids(consumer.each(max_messages=10)) == list(range(10))
    assert len(waiting.result(3)) == 10
    assert rmq.stats().published == 10


def test_two_publishers_that_wait_both_find_room(mode: Mode) -> None:
    rmq = mode.open(max_length=2, overflow="block")
    rmq.publish_many(orders(1, 2))
    waiting = [rmq.later("publish", Order(order_id=n)) for n in (3, 4)]
    mode.sleep(0.1)
    consumer = mode.open()
    # One claim makes room for both.
    taken = ids(consumer.each(max_messages=2, prefetch=2))
    assert taken == [1, 2]
    assert (
        sorted(receipt.duplicate for receipt in [job.result(3) for job in waiting]) == [False] * 2
    )


# --- drop_oldest


def test_the_oldest_gives_way(mode: Mode) -> None:
    recorder = Recorder()
    rmq = mode.open(max_length=3, overflow="drop_oldest", observers=[recorder])
    first = rmq.publish(Order(order_id=1))
    rmq.publish_many(orders(2, 3))
    rmq.publish(Order(order_id=4))
    stats = rmq.stats()
    assert (stats.ready, stats.dropped, stats.published) == (3, 1, 4)
    (event,) = recorder.told("dropped")
    assert event.message_ids == (first.id,)
    # Its key is free.
    assert not rmq.publish(Order(order_id=1)).duplicate
    assert ids(rmq.consume_all()) == [3, 4, 1]


def test_low_priority_gives_way_first(mode: Mode) -> None:
    rmq = mode.open(max_length=4, overflow="drop_oldest")
    rmq.publish(Order(order_id=1), priority="high")
    rmq.publish(Order(order_id=2))
    rmq.publish(Order(order_id=3), priority="low")
    rmq.publish(Order(order_id=4), delay=60)
    rmq.publish(Order(order_id=5))
    rmq.publish(Order(order_id=6))
    rmq.publish(Order(order_id=7))
    assert rmq.stats().dropped == 3
    assert (rmq.stats().ready, rmq.stats().delayed) == (3, 1)
    assert ids(rmq.consume_all()) == [1, 6, 7]


def test_delayed_ones_give_way_last(mode: Mode) -> None:
    rmq = mode.open(max_length=2, overflow="drop_oldest")
    rmq.publish(Order(order_id=1), delay=60)
    rmq.publish(Order(order_id=2), delay=30)
    rmq.publish(Order(order_id=3))
    assert (rmq.stats().ready, rmq.stats().delayed, rmq.stats().dropped) == (1, 1, 1)


def test_a_batch_larger_than_the_queue_leaves_its_newest(mode: Mode) -> None:
    rmq = mode.open(max_length=3, overflow="drop_oldest")
    receipts = rmq.publish_many(orders(*range(10)))
    assert len(receipts) == 10
    assert ids(rmq.consume_all()) == [7, 8, 9]
    assert rmq.stats().dropped == 7


def test_a_queue_that_makes_room_by_purge(mode: Mode) -> None:
    rmq = mode.open(max_length=1, overflow="block")
    rmq.publish(Order(order_id=1))
    waiting = rmq.later("publish", Order(order_id=2))
    mode.sleep(0.05)
    assert mode.open().purge() == 1
    start = time.monotonic()
    waiting.result(8)
    assert time.monotonic() - start < 2, "a purge makes room: whoever waits for it is told"
