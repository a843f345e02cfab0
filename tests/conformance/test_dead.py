"""The dead letters: what they say, and what can be done with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.conftest import Keys
from tests.conformance.harness import ONCE, Mode, Order, ids, orders, utc
from typed_rmq import Retry


def test_an_empty_view(mode: Mode) -> None:
    rmq = mode.open()
    assert rmq.dead_count() == 0
    assert rmq.dead_list() == []
    assert rmq.dead_get("nothing") is None
    assert rmq.dead_redrive() == rmq.dead_redrive("nothing") == rmq.dead_purge() == 0
    assert bool(rmq.queue.dead)


def test_letters_come_oldest_first_and_can_be_got(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE)
    receipts = rmq.publish_many(orders(1, 2, 3), headers={"run": "7"}, priority="high")
    rmq.fail_all()
    letters = rmq.dead_list()
    assert [letter.id for letter in letters] == [receipt.id for receipt in receipts]
    assert ids([letter.payload for letter in letters]) == [1, 2, 3]
    assert rmq.dead_count() == 3
    if mode.name == "sync":
        assert len(rmq.queue.dead) == 3
    letter = rmq.dead_get(receipts[1].id)
    assert letter == letters[1]
    assert letter.headers == {"run": "7"}
    assert abs(utc(letter.died_at) - datetime.now(UTC)) < timedelta(seconds=5)
    assert utc(letter.published_at) <= letter.died_at
    assert "A-1" not in repr(letter).replace(repr(letter.payload), ""), "no raw bytes in a repr"


def test_more_letters_than_one_page(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE)
    rmq.publish_many(orders(*range(230)))
    rmq.consume_all(lambda msg: msg.reject("no"), prefetch=100)
    assert ids([letter.payload for letter in rmq.dead_list()]) == list(range(230))
    assert rmq.dead_redrive() == 230
    assert ids(rmq.consume_all()) == list(range(230))


def test_redrive_gives_all_attempts_back(mode: Mode) -> None:
    rmq = mode.open(retry=Retry(max_attempts=2, backoff=0))
    receipt = rmq.publish(Order(order_id=1), headers={"a": "b"}, priority="low")
    rmq.fail_all()
    assert rmq.dead_redrive() == 1
    assert (rmq.stats().dead, rmq.stats().ready) == (0, 1)
    seen = []
    rmq.consume_all(lambda msg: (seen.append((msg.id, msg.attempt, msg.headers)), 1 / 0))
    assert seen == [(receipt.id, 1, {"a": "b"}), (receipt.id, 2, {"a": "b"})]
    (letter,) = rmq.dead_list()
    assert letter.error.startswith("ZeroDivisionError")


def test_redrive_of_some(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE)
    receipts = rmq.publish_many(orders(1, 2, 3, 4))
    rmq.fail_all()
    assert rmq.dead_redrive(receipts[2].id, "unknown", receipts[0].id) == 2
    assert sorted(ids(rmq.consume_all())) == [1, 3]
    assert ids([letter.payload for letter in rmq.dead_list()]) == [2, 4]
    assert rmq.dead_get(receipts[0].id) is None


def test_redriving_an_id_twice_in_one_call_makes_one_message(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE)
    receipt = rmq.publish(Order(order_id=1))
    rmq.fail_all()
    rmq.dead_redrive(receipt.id, receipt.id)
    assert rmq.stats().ready == 1
    assert ids(rmq.consume_all()) == [1]


def test_redriven_with_dedup_off(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE, dedup=None)
    receipts = [rmq.publish(Order(order_id=1)) for _ in range(2)]
    rmq.fail_all()
    assert rmq.dead_redrive(receipts[0].id, receipts[0].id) == 1
    assert rmq.stats().ready == 1
    assert rmq.dead_redrive() == 1
    assert ids(rmq.consume_all()) == [1, 1]


def test_purge_deletes_the_letters(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(retry=ONCE)
    rmq.publish_many(orders(1, 2, 3))
    rmq.fail_all()
    assert rmq.dead_purge() == 3
    assert rmq.dead_count() == 0
    assert not [key for key in keys.all() if key.startswith("dead")]
    assert rmq.stats().dead_lettered == 3


def test_keep_dead_keeps_the_newest(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE, keep_dead=3)
    receipts = rmq.publish_many(orders(*range(8)))
    rmq.fail_all()
    assert ids([letter.payload for letter in rmq.dead_list()]) == [5, 6, 7]
    stats = rmq.stats()
    assert (stats.dead, stats.dead_lettered, stats.dropped) == (3, 8, 5)
    assert rmq.dead_get(receipts[0].id) is None
    assert rmq.dead_get(receipts[7].id) is not None


def test_keep_dead_none_keeps_nothing(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE, keep_dead=0)
    rmq.publish(Order(order_id=1))
    rmq.fail_all()
    assert (rmq.stats().dead, rmq.stats().dead_lettered) == (0, 1)


@pytest.mark.parametrize("count", [1, 1100])
def test_many_letters_at_once(mode: Mode, count: int) -> None:
    rmq = mode.open(retry=ONCE)
    rmq.publish_many(orders(*range(count)), batch=1000)
    rmq.consume_all(lambda msg: msg.reject("no"), prefetch=1000)
    assert rmq.dead_count() == count
    assert rmq.dead_redrive() == count
    assert rmq.stats().ready == count
    assert rmq.dead_count() == 0
