"""Bad input in Redis itself: what cannot be read is a dead letter, and the loop goes on."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from tests.conformance.conftest import Keys
from tests.conformance.harness import Mode, Order, ids, orders
from typed_rmq import MsgPack, PayloadError

FOREIGN: list[bytes] = [
    b"",
    b"\x00",
    b"x",
    b"not a message",
    b'{"order_id": 1}',
    b"\xff\xfe" * 100,
    b"1" * 56,
    b"\x80\x04\x95.",  # a pickle
    b"x" * 100_000,
]


def test_f26_foreign_bytes_are_dead_letters_and_the_loop_goes_on(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    keys.client.lpush(keys("ready:normal"), *reversed(FOREIGN))
    keys.client.rpush(keys("ready:normal"), *FOREIGN)
    assert ids(rmq.consume_all()) == [1, 2]
    letters = rmq.dead_list()
    assert [letter.raw for letter in letters] == FOREIGN * 2
    assert {letter.payload for letter in letters} == {None}
    assert all(letter.reason and letter.published_at is None for letter in letters)
    assert (rmq.stats().dead_lettered, rmq.stats().in_flight) == (2 * len(FOREIGN), 0)
    # They can be looked at, but they are no messages that could be sent round again.
    assert [rmq.dead_get(letter.id) for letter in letters] == letters
    assert len(rmq.peek(100, state="dead")) == len(letters)
    assert rmq.dead_redrive() == 0
    assert rmq.dead_purge() == len(letters)


@pytest.mark.parametrize("foreign", [b"", b"x", b"1" * 56], ids=repr)
@pytest.mark.parametrize("prefetch", [1, 10])
def test_f26_each_by_itself(mode: Mode, keys: Keys, foreign: bytes, prefetch: int) -> None:
    rmq = mode.open()
    keys.client.rpush(keys("ready:normal"), foreign)
    rmq.publish(Order(order_id=1))
    assert ids(rmq.consume_all(prefetch=prefetch)) == [1]
    (letter,) = rmq.dead_list()
    assert letter.raw == foreign


def test_f26_foreign_bytes_can_be_peeked_at_and_purged(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    keys.client.lpush(keys("ready:normal"), b"", b"foreign")
    seen = rmq.peek()
    assert [(one.payload, one.raw) for one in seen] == [(None, b"foreign"), (None, b"")]
    assert rmq.stats().ready == 2
    assert rmq.purge() == 2


def test_f26_a_damaged_message_never_stops_the_loop(mode: Mode, keys: Keys) -> None:
    """One byte of the stored message is overwritten, at each place of the head and beyond."""
    rmq = mode.open(dedup=None)
    rmq.publish(Order(order_id=1, sku="x" * 40), headers={"a": "b"})
    stored = keys.client.lpop(keys("ready:normal"))
    damaged = [stored[:at] + b"!" + stored[at + 1 :] for at in range(90)]
    for one in damaged:
        keys.client.rpush(keys("ready:normal"), one)
        rmq.publish(Order(order_id=2))
        taken = rmq.consume_all(prefetch=1)
        assert taken[-1] == Order(order_id=2)
        stats = rmq.stats()
        assert (stats.in_flight, stats.ready, stats.delayed) == (0, 0, 0)
        assert len(taken) + stats.dead == 2, "handled, or kept as a dead letter"
        rmq.dead_purge()


def test_f26_a_message_cut_short(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1), headers={"a": "b"})
    whole = keys.client.lpop(keys("ready:normal"))
    cuts = [whole[:length] for length in range(0, len(whole), 7)]
    keys.client.rpush(keys("ready:normal"), *cuts)
    rmq.publish(Order(order_id=2))
    assert ids(rmq.consume_all(prefetch=100)) == [2]
    assert rmq.stats().dead == len(cuts)


def test_f26_what_is_not_of_the_type_is_a_dead_letter(mode: Mode) -> None:
    class Wide(BaseModel):
        order_id: str
        sku: str

    receipt = mode.open(Wide).publish(Wide(order_id="many", sku="A-1"), headers={"a": "b"})
    rmq = mode.open()
    rmq.publish(Order(order_id=2))
    assert ids(rmq.consume_all()) == [2]
    (letter,) = rmq.dead_list()
    assert letter.id == receipt.id
    assert letter.payload is None
    assert letter.raw == b'{"order_id":"many","sku":"A-1"}'
    assert "order_id" in letter.reason
    assert "many" not in letter.reason
    assert letter.headers == {"a": "b"}
    assert letter.published_at is not None
    # Whoever can read it can have it.
    assert mode.open(Wide).dead_list()[0].payload == Wide(order_id="many", sku="A-1")


def test_f26_in_a_worker_and_in_receive(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    keys.client.rpush(keys("ready:normal"), b"foreign")
    rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    assert msg.payload.order_id == 1
    msg.ack()
    keys.client.rpush(keys("ready:normal"), b"foreign")
    rmq.publish(Order(order_id=2))
    seen: list[int] = []
    rmq.run(lambda order: seen.append(order.order_id), until_empty=True, concurrency=2)
    assert seen == [2]
    assert rmq.stats().dead == 2


def test_a_copy_of_a_message_is_never_delivered_twice_at_once(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    copy = keys.client.lindex(keys("ready:normal"), 0)
    keys.client.rpush(keys("ready:normal"), copy)
    assert ids(rmq.consume_all(prefetch=2)) == [1]
    (letter,) = rmq.dead_list()
    assert letter.payload == Order(order_id=1)


@pytest.mark.parametrize("payload", [2**63, -(2**200), 10**400])
def test_f32_large_ints_stay_exact(mode: Mode, payload: int) -> None:
    rmq = mode.open(int)
    rmq.publish(payload)
    assert rmq.consume_all() == [payload]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_f29_nesting(mode: Mode) -> None:
    rmq = mode.open(Any)
    rmq.publish(nested(90))
    with pytest.raises(PayloadError):
        rmq.publish(nested(101))
    with pytest.raises(PayloadError):
        rmq.publish(nested(5000))
    assert rmq.consume_all() == [nested(90)]


def test_f33_duplicate_keys_the_last_wins(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1, sku="A"))
    stored = keys.client.lindex(keys("ready:normal"), 0)
    twice = stored.replace(b'"sku":"A"', b'"sku":"B","sku":"C"')
    keys.client.lset(keys("ready:normal"), 0, twice)
    assert rmq.consume_all() == [Order(order_id=1, sku="C")]


def test_a_consumer_reads_what_another_serializer_wrote(mode: Mode) -> None:
    packed, plain = mode.open(serializer=MsgPack()), mode.open()
    packed.publish(Order(order_id=1), headers={"a": "b"})
    plain.publish(Order(order_id=2))
    # The same content, whatever the form.
    assert packed.publish(Order(order_id=2)).duplicate
    seen = []
    assert ids(plain.consume_all(lambda msg: seen.append(msg.headers))) == [1, 2]
    assert seen == [{"a": "b"}, {}]
    packed.publish(Order(order_id=3))
    plain.publish(Order(order_id=4))
    assert ids(packed.consume_all()) == [3, 4]


def test_an_unknown_content_type_is_a_dead_letter(mode: Mode, keys: Keys) -> None:
    packed = mode.open(serializer=MsgPack())
    packed.publish(Order(order_id=1))
    stored = keys.client.lindex(keys("ready:normal"), 0)
    keys.client.lset(keys("ready:normal"), 0, stored.replace(b"msgpack", b"unknown"))
    rmq = mode.open()
    assert rmq.consume_all() == []
    (letter,) = rmq.dead_list()
    assert "content type" in letter.reason
