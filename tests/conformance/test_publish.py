"""Publishing: receipts, options, batches, and what is refused before it is sent."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.conformance.conftest import Keys
from tests.conformance.harness import Mode, Order, ids, orders, timed, utc
from typed_rmq import ConfigError, Message, PayloadError, Queue, Receipt


def test_a_published_message_comes_back_as_it_was(mode: Mode) -> None:
    rmq = mode.open()
    before = time.time() - 1
    receipt = rmq.publish(Order(order_id=1, sku="B-2"), headers={"tenant": "ü"})
    assert receipt == Receipt(receipt.id, duplicate=False, conflict=False)
    assert len(receipt.id) == 24

    def look(msg: Message[Order]) -> None:
        assert msg.id == receipt.id
        assert msg.payload == Order(order_id=1, sku="B-2")
        assert type(msg.payload) is Order
        assert msg.attempt == 1
        assert msg.headers == {"tenant": "ü"}
        assert msg.queue == rmq.queue.name == mode.queue_name
        assert before <= utc(msg.published_at).timestamp() <= time.time() + 1

    assert rmq.consume_all(look) == [Order(order_id=1, sku="B-2")]
    stats = rmq.stats()
    assert (stats.published, stats.completed) == (1, 1)
    assert (stats.ready, stats.in_flight, stats.dead, stats.failed) == (0, 0, 0, 0)


def test_messages_keep_their_order(mode: Mode) -> None:
    rmq = mode.open()
    for order in orders(3, 1, 2):
        rmq.publish(order)
    assert ids(rmq.consume_all()) == [3, 1, 2]


def test_a_publish_is_one_round_trip(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=0))  # the server learns the script
    before = keys.calls()
    rmq.publish(Order(order_id=1))
    assert keys.calls() - before == 1
    rmq.publish_many(orders(*range(2, 9)), batch=3)
    assert keys.calls() - before == 1 + 3


# --- delay and at


@timed
def test_a_delayed_message_is_not_delivered_before_its_time(mode: Mode) -> None:
    rmq = mode.open()
    start = time.monotonic()
    rmq.publish(Order(order_id=1), delay=0.3)
    rmq.publish(Order(order_id=2), delay=timedelta(milliseconds=150))
    assert (rmq.stats().ready, rmq.stats().delayed) == (0, 2)
    assert rmq.consume_all() == []
    arrived = []
    rmq.each(lambda msg: arrived.append((msg.payload.order_id, time.monotonic())), max_messages=2)
    assert [order_id for order_id, _ in arrived] == [2, 1]
    assert arrived[0][1] - start >= 0.15
    assert arrived[1][1] - start >= 0.3
    assert arrived[1][1] - start < 2


@pytest.mark.parametrize("form", ["datetime", "zone", "seconds"])
def test_a_message_can_be_published_for_a_moment(mode: Mode, form: str) -> None:
    rmq = mode.open()
    moment = datetime.now(UTC) + timedelta(hours=2)
    at: Any = moment
    if form == "zone":
        at = moment.astimezone(timezone(timedelta(hours=5)))
    elif form == "seconds":
        at = moment.timestamp()
    rmq.publish(Order(order_id=1), at=at)
    (seen,) = rmq.peek(state="delayed")
    assert abs(utc(seen.due_at) - moment) < timedelta(milliseconds=2)
    assert rmq.stats().ready == 0


def test_a_moment_in_the_past_is_now(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1), at=datetime.now(UTC) - timedelta(days=1))
    rmq.publish(Order(order_id=2), at=0)
    rmq.publish(Order(order_id=3), delay=0)
    assert rmq.stats().ready == 3
    assert ids(rmq.consume_all()) == [1, 2, 3]


@pytest.mark.servers("valkey")  # nothing reaches one
@pytest.mark.parametrize(
    "options",
    [
        {"at": datetime(2040, 1, 1)},
        {"delay": 1, "at": datetime(2040, 1, 1, tzinfo=UTC)},
        {"delay": -1},
        {"delay": float("nan")},
        {"delay": float("inf")},
        {"delay": timedelta(seconds=-1)},
        {"delay": timedelta(days=36_500)},
        {"at": -1.0},
        {"at": float("nan")},
        {"at": 1e13},
        {"at": datetime(2999, 1, 1, tzinfo=UTC)},
        {"priority": "urgent"},
        {"priority": None},
        {"headers": {"n": 1}},
        {"headers": {1: "n"}},
        {"headers": {"n": "x" * 70_000}},
        {"headers": {"n": "\ud800"}},
    ],
)
def test_wrong_options_are_refused_before_anything_is_sent(
    mode: Mode, keys: Keys, options: dict[str, Any]
) -> None:
    rmq = mode.open()
    with pytest.raises(ConfigError):
        rmq.publish(Order(order_id=1), **options)
    with pytest.raises(ConfigError):
        rmq.publish_many(orders(1), **options)
    assert keys.all() == {}


# --- priorities and headers


def test_higher_priorities_are_delivered_first(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1), priority="low")
    rmq.publish(Order(order_id=2))
    rmq.publish(Order(order_id=3), priority="high")
    rmq.publish(Order(order_id=4), priority="low")
    rmq.publish(Order(order_id=5), priority="high")
    rmq.publish(Order(order_id=6), priority="normal")
    assert [seen.priority for seen in rmq.peek()] == ["high"] * 2 + ["normal"] * 2 + ["low"] * 2
    assert ids(rmq.consume_all()) == [3, 5, 2, 6, 1, 4]


def test_a_later_message_of_higher_priority_overtakes(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3))

    def body(msg: Message[Order]) -> None:
        if msg.payload.order_id == 1:
            other.publish(Order(order_id=9), priority="high")

    # The loop runs in the mode's own world: what it publishes goes by a queue of its own.
    with Queue[Order](mode.queue_name, mode.url) as other:
        assert ids(rmq.consume_all(body, prefetch=1)) == [1, 9, 2, 3]


@timed
def test_a_delayed_message_keeps_its_priority(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1), delay=0.05, priority="low")
    rmq.publish(Order(order_id=2), delay=0.1, priority="high")
    mode.sleep(0.15)
    assert ids(rmq.consume_all()) == [2, 1]


def test_headers_are_text_to_text_and_keep_their_order(mode: Mode) -> None:
    rmq = mode.open()
    headers = {"z": "", "a": '"quoted"\n', "ключ": "значение", "n": "x" * 1000}
    rmq.publish(Order(order_id=1), headers=headers)
    rmq.publish(Order(order_id=2), headers={})
    seen = []
    rmq.consume_all(lambda msg: seen.append(msg.headers))
    assert seen == [headers, {}]
    assert list(seen[0]) == list(headers)


# --- many


def test_many_are_stored_in_their_order_with_a_receipt_each(mode: Mode) -> None:
    rmq = mode.open()
    receipts = rmq.publish_many(orders(*range(25)), batch=10, headers={"run": "7"}, priority="low")
    assert len({receipt.id for receipt in receipts}) == 25
    assert [seen.id for seen in rmq.peek(50)] == [receipt.id for receipt in receipts]
    assert {seen.headers["run"] for seen in rmq.peek(50)} == {"7"}
    assert {seen.priority for seen in rmq.peek(50)} == {"low"}
    assert ids(rmq.consume_all()) == list(range(25))


def test_a_few_thousand_at_once(mode: Mode) -> None:
    rmq = mode.open()
    receipts = rmq.publish_many(orders(*range(2500)), batch=1000)
    assert len(receipts) == 2500
    assert rmq.stats().ready == 2500
    assert ids(rmq.consume_all(prefetch=1000)) == list(range(2500))
    assert rmq.stats().completed == 2500


def test_many_takes_any_iterable(mode: Mode) -> None:
    rmq = mode.open()
    assert rmq.publish_many([]) == []
    assert len(rmq.publish_many(iter(orders(1, 2)))) == 2
    assert len(rmq.publish_many(Order(order_id=n) for n in (3, 4, 5))) == 3
    assert len(rmq.publish_many(tuple(orders(6)))) == 1
    assert ids(rmq.consume_all()) == [1, 2, 3, 4, 5, 6]


def test_many_of_an_async_iterable(mode: Mode) -> None:
    if mode.name == "sync":
        return  # publish_many takes none: its type says so
    rmq = mode.open()

    async def source() -> AsyncIterator[Order]:
        for order in orders(1, 2, 3, 4, 5):
            yield order

    assert len(rmq.publish_many(source(), batch=2)) == 5
    assert ids(rmq.consume_all()) == [1, 2, 3, 4, 5]


def test_many_delayed_ones(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2, 3), delay=3600)
    assert rmq.stats().delayed == 3


def test_an_invalid_item_says_its_index_and_earlier_batches_are_stored(mode: Mode) -> None:
    rmq = mode.open()
    items: list[Any] = [*orders(0, 1, 2, 3, 4), {"order_id": "many"}, *orders(6)]
    with pytest.raises(PayloadError) as caught:
        rmq.publish_many(items, batch=2)
    assert caught.value.index == 5
    assert caught.value.queue == mode.queue_name
    assert "item 5" in str(caught.value)
    assert ids(rmq.consume_all()) == [0, 1, 2, 3]


def test_an_iterable_that_raises_leaves_its_earlier_batches_stored(mode: Mode) -> None:
    rmq = mode.open()

    def source() -> Iterator[Order]:
        yield from orders(1, 2, 3)
        raise RuntimeError("the file ended")

    with pytest.raises(RuntimeError, match="the file ended"):
        rmq.publish_many(source(), batch=2)
    assert ids(rmq.consume_all()) == [1, 2]
    # The queue is as usable as before.
    assert rmq.publish(Order(order_id=3)).duplicate is False


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("batch", [0, -1, 1001])
def test_batches_are_of_one_to_a_thousand(mode: Mode, batch: int) -> None:
    rmq = mode.open()
    with pytest.raises(ConfigError):
        rmq.publish_many(orders(1), batch=batch)


# --- max_payload


def test_a_payload_may_be_as_large_as_max_payload(mode: Mode, keys: Keys) -> None:
    fits = Order(order_id=1, sku="x" * 70)
    size = len(fits.model_dump_json())
    rmq = mode.open(max_payload=size)
    rmq.publish(fits)
    with pytest.raises(PayloadError, match="max_payload") as caught:
        rmq.publish(Order(order_id=1, sku="y" * 71))
    assert "yyy" not in str(caught.value)
    assert ids(rmq.consume_all()) == [1]
    assert rmq.stats().published == 1


def test_a_payload_of_the_default_limit_arrives(mode: Mode) -> None:
    rmq = mode.open(str)
    text = "ж" * 524_287  # 2 bytes each, and two quotes
    rmq.publish(text)
    with pytest.raises(PayloadError):
        rmq.publish(text + "x")
    assert rmq.consume_all() == [text]


def test_f28_what_was_stored_larger_than_this_consumer_takes_is_a_dead_letter(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1, sku="x" * 500))
    small = mode.open(max_payload=100)
    assert small.consume_all() == []
    (letter,) = small.dead_list()
    assert letter.payload is None
    assert "max_payload" in letter.reason
    assert b"xxxx" in letter.raw
    # A consumer that takes more can have it.
    rmq.dead_redrive()
    assert ids(rmq.consume_all()) == [1]
