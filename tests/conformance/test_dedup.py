"""Deduplication: what counts as the same message, for how long, and who holds the key."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from tests.conformance.conftest import Keys
from tests.conformance.harness import (
    FAST,
    ONCE,
    Mode,
    Order,
    Recorder,
    broken,
    ids,
    orders,
    timed,
)
from typed_rmq import ConfigError, Dedup, DedupKey, PayloadError, Queue, Receipt


class Keyed(BaseModel):
    order_id: Annotated[int, DedupKey]
    sku: str = "A-1"


class Bag(BaseModel):
    tags: set[str] = set()
    extra: dict[str, int] = {}
    price: Decimal = Decimal(1)
    count: int = 0


def test_an_equal_message_within_the_window_is_one_message(mode: Mode) -> None:
    rmq = mode.open()
    first = rmq.publish(Order(order_id=1))
    again = rmq.publish(Order(order_id=1), headers={"try": "2"}, priority="high", delay=5)
    other = rmq.publish(Order(order_id=1, sku="B"))
    assert (first.duplicate, again.duplicate, other.duplicate) == (False, True, False)
    assert again == Receipt(first.id, duplicate=True, conflict=False)
    stats = rmq.stats()
    assert (stats.ready, stats.delayed, stats.published, stats.duplicates) == (2, 0, 2, 1)


def test_an_acked_message_is_still_remembered(mode: Mode) -> None:
    rmq = mode.open()
    first = rmq.publish(Order(order_id=1))
    rmq.consume_all()
    assert rmq.publish(Order(order_id=1)) == Receipt(first.id, duplicate=True)


def test_duplicates_within_one_batch_and_across_batches(mode: Mode) -> None:
    rmq = mode.open()
    receipts = rmq.publish_many(orders(1, 2, 1, 3, 2, 1), batch=4)
    assert [receipt.duplicate for receipt in receipts] == [False, False, True, False, True, True]
    assert receipts[2].id == receipts[5].id == receipts[0].id
    assert receipts[4].id == receipts[1].id
    assert ids(rmq.consume_all()) == [1, 2, 3]


def test_the_order_of_keys_and_of_sets_never_matters(mode: Mode) -> None:
    rmq = mode.open(Bag)
    first = rmq.publish(Bag(tags={"a", "b", "c"}, extra={"x": 1, "y": 2}))
    assert not first.duplicate
    assert rmq.publish(Bag(tags={"c", "b", "a"}, extra={"y": 2, "x": 1})).id == first.id
    assert rmq.publish({"extra": {"y": 2, "x": 1}, "tags": {"b", "c", "a"}}).duplicate


def test_numbers_stay_exact(mode: Mode) -> None:
    rmq = mode.open(Bag)
    big = 2**80
    payloads = [
        Bag(count=big),
        Bag(count=big + 1),
        Bag(count=2**53),
        Bag(count=2**53 + 1),
        Bag(price=Decimal("0.10")),
        Bag(price=Decimal("0.1000000000000000000000000001")),
    ]
    assert [rmq.publish(payload).duplicate for payload in payloads] == [False] * 6
    assert rmq.publish(Bag(count=big)).duplicate
    assert rmq.consume_all() == payloads


def test_queues_and_types_never_meet(mode: Mode) -> None:
    first = mode.open()
    other = mode.open(name=f"{mode.queue_name}-other")
    keyed = mode.open(Keyed)
    assert not first.publish(Order(order_id=1)).duplicate
    assert not other.publish(Order(order_id=1)).duplicate
    assert not keyed.publish(Keyed(order_id=1)).duplicate


def test_dedup_none_turns_it_off(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(dedup=None)
    first, second = rmq.publish(Order(order_id=1)), rmq.publish(Order(order_id=1))
    assert first.id != second.id
    assert not second.duplicate
    assert not [key for key in keys.all() if key.startswith("dedup:")]
    assert ids(rmq.consume_all()) == [1, 1]
    with pytest.raises(ConfigError):
        rmq.publish(Order(order_id=1), dedup_key="k")


# --- the forms of a key

FORMS: dict[str, tuple[type[BaseModel], Dedup[Any]]] = {
    "fields": (Order, Dedup(fields=("order_id",))),
    "key": (Order, Dedup(key=lambda order: order.order_id)),
    "annotated": (Keyed, Dedup()),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_makes_the_same_message(mode: Mode, form: str) -> None:
    payload, dedup = FORMS[form]
    rmq = mode.open(payload, dedup=dedup)
    first = rmq.publish(payload(order_id=1, sku="A"))
    assert rmq.publish(payload(order_id=1, sku="A")) == Receipt(first.id, True, conflict=False)
    assert rmq.publish(payload(order_id=1, sku="B")) == Receipt(first.id, True, conflict=True)
    assert not rmq.publish(payload(order_id=2, sku="A")).duplicate
    assert [seen.payload.sku for seen in rmq.peek()] == ["A", "A"]


def test_f35_the_same_explicit_key_with_other_content_is_a_conflict(mode: Mode) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder])
    first = rmq.publish(Order(order_id=1), dedup_key="job-7")
    same = rmq.publish(Order(order_id=1), dedup_key="job-7")
    conflict = rmq.publish(Order(order_id=2), dedup_key="job-7")
    assert (same.id, same.duplicate, same.conflict) == (first.id, True, False)
    assert (conflict.id, conflict.duplicate, conflict.conflict) == (first.id, True, True)
    assert [event.conflict for event in recorder.told("duplicate")] == [False, True]
    # An explicit key is no content: the two never meet.
    assert not rmq.publish(Order(order_id=1)).duplicate
    assert not rmq.publish(Order(order_id=1), dedup_key="job-8").duplicate
    assert ids(rmq.consume_all()) == [1, 1, 1]


def test_a_conflict_within_one_batch(mode: Mode) -> None:
    rmq = mode.open(dedup=Dedup(fields=["order_id"]))
    batch = [Order(order_id=1), Order(order_id=1, sku="B"), Order(order_id=1)]
    receipts = rmq.publish_many(batch)
    assert [receipt.conflict for receipt in receipts] == [False, True, False]
    assert [receipt.duplicate for receipt in receipts] == [False, True, True]


@pytest.mark.parametrize("key", ["", "\ud800", 7])
def test_a_dedup_key_is_text(mode: Mode, key: Any) -> None:
    rmq = mode.open()
    with pytest.raises(PayloadError):
        rmq.publish(Order(order_id=1), dedup_key=key)
    assert rmq.stats().published == 0


def test_a_key_function_that_fails_refuses_the_payload(mode: Mode) -> None:
    secret = "hunter2"
    for dedup in (Dedup(key=lambda order: None), Dedup(key=lambda order: {}[secret])):
        rmq = mode.open(dedup=dedup)
        with pytest.raises(PayloadError) as caught:
            rmq.publish(Order(order_id=1))
        assert secret not in str(caught.value)
    assert rmq.stats().published == 0


def test_a_hash_of_ones_own(mode: Mode) -> None:
    keyed = Dedup(hash=lambda data: hashlib.sha512(data).digest())
    rmq = mode.open(dedup=keyed)
    first = rmq.publish(Order(order_id=1))
    assert rmq.publish(Order(order_id=1)).id == first.id
    assert not rmq.publish(Order(order_id=2)).duplicate
    # Another hash makes other keys.
    assert not mode.open().publish(Order(order_id=1)).duplicate


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dedup(fields=("order",)),
        lambda: Dedup(fields=("order_id",), key=lambda order: 1),
        lambda: Dedup(window=0),
        lambda: Dedup(window=-5),
        lambda: Dedup(until="acked"),  # type: ignore[arg-type]  # refused is what it must be
        lambda: Dedup(window=60, until="done"),
        lambda: Dedup(hash=lambda data: b"short"),
        lambda: Dedup(fields=()),
        lambda: Dedup(fields="order_id"),
    ],
)
def test_a_wrong_policy_is_refused_when_the_queue_is_made(make: Any) -> None:
    with pytest.raises(ConfigError):
        Queue[Order]("orders", "redis://127.0.0.1:1/0", dedup=make())


# --- for how long


@timed
def test_after_the_window_an_equal_message_is_new(mode: Mode) -> None:
    rmq = mode.open(dedup=Dedup(window=timedelta(milliseconds=250)))
    first = rmq.publish(Order(order_id=1))
    assert rmq.publish(Order(order_id=1)).duplicate
    mode.sleep(0.3)
    second = rmq.publish(Order(order_id=1))
    assert not second.duplicate
    assert second.id != first.id


def test_the_window_is_kept_in_redis(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    (key,) = [key for key in keys.all() if key.startswith("dedup:")]
    assert 3590_000 < keys.client.pttl(keys(key)) <= 3600_000


def test_until_done_remembers_as_long_as_the_message_lives(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(dedup=Dedup(until="done"), retry=FAST)
    first = rmq.publish(Order(order_id=1))
    (key,) = [key for key in keys.all() if key.startswith("dedup:")]
    assert keys.client.pttl(keys(key)) == -1
    assert rmq.publish(Order(order_id=1)).id == first.id

    taken = rmq.receive()
    assert rmq.publish(Order(order_id=1)).duplicate
    taken.retry(delay=0)
    rmq.settle(taken)
    assert rmq.publish(Order(order_id=1)).duplicate
    assert ids(rmq.consume_all()) == [1]
    second = rmq.publish(Order(order_id=1))
    assert not second.duplicate
    assert second.id != first.id


@pytest.mark.parametrize("how", ["reject", "attempts"])
@pytest.mark.parametrize("until", [None, "done"])
def test_a_dead_letter_frees_its_key(mode: Mode, how: str, until: Any) -> None:
    rmq = mode.open(dedup=Dedup(until=until), retry=ONCE)
    first = rmq.publish(Order(order_id=1))
    rmq.consume_all(broken if how == "attempts" else lambda msg: msg.reject("no"))
    assert rmq.stats().dead == 1
    second = rmq.publish(Order(order_id=1))
    assert not second.duplicate
    assert second.id != first.id
    assert ids(rmq.consume_all()) == [1]


def test_f26_an_undecodable_message_frees_its_key(mode: Mode) -> None:
    class Loose(BaseModel):
        order_id: int
        sku: str | int = "A-1"

    Loose.__name__ = "Order"
    loose, strict = mode.open(Loose), mode.open(Order)
    loose.publish(Loose(order_id=1, sku=5))
    assert strict.consume_all() == []
    assert strict.stats().dead == 1
    assert not loose.publish(Loose(order_id=1, sku=5)).duplicate


@pytest.mark.parametrize("until", [None, "done"])
def test_redrive_takes_the_key_back(mode: Mode, until: Any) -> None:
    rmq = mode.open(dedup=Dedup(until=until), retry=ONCE)
    first = rmq.publish(Order(order_id=1))
    rmq.fail_all()
    assert rmq.dead_redrive() == 1
    assert rmq.publish(Order(order_id=1)) == Receipt(first.id, duplicate=True)
    assert ids(rmq.consume_all()) == [1]
    assert rmq.publish(Order(order_id=1)).duplicate == (until is None)


def test_redrive_by_name_takes_the_key_back_for_the_publishers_window(mode: Mode) -> None:
    """As the command line and the dashboard do it: no model, no policy, just the name."""
    rmq = mode.open(dedup=Dedup(window=0.4), retry=ONCE)
    first = rmq.publish(Order(order_id=1))
    rmq.fail_all()
    assert mode.open(object, dedup=None).dead_redrive() == 1
    assert rmq.publish(Order(order_id=1)) == Receipt(first.id, duplicate=True)
    mode.sleep(0.5)
    assert not rmq.publish(Order(order_id=1)).duplicate


def test_redrive_reports_a_conflict_and_leaves_the_letter(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    rmq = mode.open(retry=ONCE, observers=[recorder])
    first = rmq.publish(Order(order_id=1))
    rmq.publish(Order(order_id=2))
    rmq.fail_all()
    second = rmq.publish(Order(order_id=1))
    assert rmq.dead_redrive() == 1
    (event,) = recorder.told("redrive_conflict")
    assert (event.queue, event.message_id, event.holder) == (mode.queue_name, first.id, second.id)
    assert f"dead letter {first.id} stays one" in caplog.text
    assert [letter.id for letter in rmq.dead_list()] == [first.id]
    assert rmq.dead_redrive(first.id) == 0
    assert sorted(ids(rmq.consume_all())) == [1, 2]


def test_two_letters_of_one_key_are_not_both_redriven(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE)
    for _ in range(2):
        assert not rmq.publish(Order(order_id=1)).duplicate
        rmq.fail_all()
    assert rmq.stats().dead == 2
    assert rmq.dead_redrive() == 1
    assert ids(rmq.consume_all()) == [1]
    assert rmq.stats().dead == 1


def test_a_key_that_another_message_holds_is_not_freed(mode: Mode) -> None:
    rmq = mode.open(dedup=Dedup(window=0.05), retry=ONCE)
    rmq.publish(Order(order_id=1))
    mode.sleep(0.08)
    wide = mode.open()
    second = wide.publish(Order(order_id=1))
    assert not second.duplicate
    # The first one dies; the key is the second one's by now.
    first = rmq.receive()
    first.reject("late")
    rmq.settle(first)
    assert wide.publish(Order(order_id=1)) == Receipt(second.id, duplicate=True)


def test_a_retried_and_a_released_message_keep_their_key(mode: Mode) -> None:
    rmq = mode.open(retry=FAST)
    first = rmq.publish(Order(order_id=1))
    for verdict in ("retry", "release"):
        taken = rmq.receive()
        getattr(taken, verdict)()
        rmq.settle(taken)
        assert rmq.publish(Order(order_id=1)).id == first.id
    assert ids(rmq.consume_all()) == [1]


def test_a_subscripted_policy(mode: Mode) -> None:
    rmq = mode.open(dedup=Dedup[Order](key=lambda order: order.order_id))
    assert not rmq.publish(Order(order_id=1)).duplicate
    assert rmq.publish(Order(order_id=1, sku="B")).conflict
