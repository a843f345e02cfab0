"""A consumer whose own calls are missing in Redis: the event, or an error where one wants it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.conformance.harness import Mode, Recorder, Rmq, ids, orders
from typed_rmq import DataLossDetected, Message
from typed_rmq.keys import QueueKeys

LOST = 1


def roll_back(client: redis.Redis, queue_name: str) -> None:
    """Redis forgets the last call of the one consumer there is."""
    keys = QueueKeys(queue_name)
    [session] = client.zrange(keys.sessions, 0, -1)
    lane = keys.lane(session)
    number = int((client.get(lane) or b"0").split()[0])
    assert number > LOST
    client.set(lane, number - LOST, px=3_600_000)


def open_with(mode: Mode, recorder: Recorder, **options: Any) -> Rmq:
    rmq = mode.open(observers=[recorder], **options)
    rmq.publish_many(orders(1, 2, 3, 4, 5, 6))
    return rmq


def consumed(rmq: Rmq, harm: Callable[[], None]) -> list[int]:
    """What is consumed, one by one, where this happens while the third is in hand."""
    seen: list[int] = []

    def body(msg: Message[Any]) -> None:
        seen.append(msg.payload.order_id)
        if len(seen) == 3:
            harm()

    rmq.consume_all(body, prefetch=1)
    return seen


@pytest.mark.parametrize("style", ["with", "bare"])
@pytest.mark.parametrize("managed", [False, True])
def test_a_loop_raises_once_when_the_message_in_hand_is_settled(
    mode: Mode, client: redis.Redis, queue_name: str, style: str, managed: bool
) -> None:
    recorder = Recorder()
    rmq = open_with(mode, recorder, on_data_loss="raise")
    seen: list[int] = []

    def body(msg: Message[Any]) -> None:
        seen.append(msg.payload.order_id)
        if len(seen) == 3:
            roll_back(client, queue_name)

    with pytest.raises(DataLossDetected) as raised:
        rmq.each(body, style=style, managed=managed, prefetch=1, until_empty=True)
    assert (raised.value.lost, raised.value.queue) == (LOST, queue_name)
    assert "What was in hand is settled as usual" in str(raised.value)
    assert seen == [1, 2, 3]
    mode.until(lambda: rmq.stats().completed == 3)
    assert [event.lost for event in recorder.told("data_loss")] == [LOST]
    # The next loop has what is left, and nothing more to tell.
    assert ids(rmq.consume_all()) == [4, 5, 6]
    assert len(recorder.told("data_loss")) == 1


def test_what_was_fetched_goes_back_uncounted(
    mode: Mode, client: redis.Redis, queue_name: str
) -> None:
    recorder = Recorder()
    rmq = open_with(mode, recorder, on_data_loss="raise")
    seen: list[int] = []

    def body(msg: Message[Any]) -> float:
        seen.append(msg.payload.order_id)
        if len(seen) == 4:
            roll_back(client, queue_name)
        return 0.0 if len(seen) < 4 else 0.6

    # 4 to 6 come at once. The ack of 4 is sent while 5 is in hand, and meets the loss.
    with pytest.raises(DataLossDetected):
        rmq.each(body, prefetch=3)
    mode.until(lambda: rmq.stats().in_flight == 0)
    stats = rmq.stats()
    assert len(seen) == 5
    assert (stats.completed, stats.ready, stats.failed) == (len(seen), 6 - len(seen), 0)
    attempts: list[int] = []
    left = rmq.consume_all(lambda msg: attempts.append(msg.attempt))
    assert ids(left) == [1, 2, 3, 4, 5, 6][len(seen) :]
    assert attempts == [1] * len(left)


def test_by_default_it_is_an_event_and_one_line(
    mode: Mode, client: redis.Redis, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    rmq = open_with(mode, recorder)
    seen = consumed(rmq, lambda: roll_back(client, queue_name))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert [event.lost for event in recorder.told("data_loss")] == [LOST]
    lines = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert [line.getMessage() for line in lines] == [
        f"queue {queue_name}: Redis has lost {LOST} operations that it had confirmed"
    ]


def test_receive_raises_once_and_goes_on(mode: Mode, client: redis.Redis, queue_name: str) -> None:
    recorder = Recorder()
    rmq = open_with(mode, recorder, on_data_loss="raise")
    for number in (1, 2):
        with rmq.receive() as order:
            assert order.order_id == number
    third = rmq.receive()
    roll_back(client, queue_name)
    third.ack()
    rmq.settle(third)
    with pytest.raises(DataLossDetected):
        rmq.receive()
    fourth = rmq.receive()
    assert fourth.payload.order_id == 4
    fourth.ack()
    rmq.settle(fourth)
    assert len(recorder.told("data_loss")) == 1


def wipe(client: redis.Redis, queue_name: str) -> None:
    client.delete(*client.scan_iter(match=f"trmq:[{{]{queue_name}[}}]:*", count=1000))


def test_an_idle_consumer_notices_that_its_queue_was_wiped(
    mode: Mode, client: redis.Redis, queue_name: str
) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder], on_data_loss="raise", lease=1.5)
    others = mode.open()
    others.publish_many(orders(1))
    begun: list[int] = []
    job = rmq.later("each", lambda msg: begun.append(msg.payload.order_id), prefetch=1)
    mode.until(lambda: others.stats().completed == 1)
    mode.sleep(0.1)
    wipe(client, queue_name)
    # So what was published since is no less than before; nobody else tells.
    others.publish_many(orders(2, 3, 4))
    with pytest.raises(DataLossDetected) as raised:
        job.result()
    assert raised.value.lost >= 1
    assert len(recorder.told("data_loss")) == 1
    assert ids(rmq.consume_all()) == [number for number in (2, 3, 4) if number not in begun]
    assert len(recorder.told("data_loss")) == 1


def test_a_wipe_with_a_message_in_hand_is_told_once(
    mode: Mode, client: redis.Redis, queue_name: str
) -> None:
    recorder = Recorder()
    rmq = open_with(mode, recorder)
    assert consumed(rmq, lambda: wipe(client, queue_name)) == [1, 2, 3]
    assert len(recorder.told("data_loss")) == 1
    assert len(recorder.told("stale")) == 1


def test_a_queue_that_was_wiped_between_two_loops_is_told_of_by_the_second(
    mode: Mode, client: redis.Redis, queue_name: str
) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder])
    others = mode.open()
    others.publish_many(orders(1, 2))
    assert ids(rmq.consume_all()) == [1, 2]
    wipe(client, queue_name)
    assert recorder.told("data_loss") == []
    others.publish_many(orders(3))
    assert ids(rmq.consume_all()) == [3]
    assert ids(rmq.consume_all()) == []
    assert [event.lost for event in recorder.told("data_loss")] == [1]


def test_a_session_that_was_reaped_is_no_loss(
    mode: Mode, client: redis.Redis, queue_name: str
) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder], on_data_loss="raise")
    rmq.publish(*orders(1))
    other = mode.open()
    keys = QueueKeys(queue_name)
    first = rmq.receive()
    [session] = client.zrange(keys.sessions, 0, -1)
    client.zadd(keys.sessions, {session: 1})
    theirs = other.receive(timeout=10)
    assert theirs is not None
    theirs.ack()
    other.settle(theirs)
    mode.until(lambda: client.zscore(keys.sessions, session) is None)
    first.ack()
    assert rmq.receive() is None
    assert recorder.told("data_loss") == []


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_worker_raises_when_all_that_is_in_hand_is_settled(
    mode: Mode, client: redis.Redis, queue_name: str, concurrency: int
) -> None:
    recorder = Recorder()
    rmq = open_with(mode, recorder, on_data_loss="raise")
    done: list[int] = []

    def handler(msg: Message[Any]) -> float:
        done.append(msg.payload.order_id)
        if len(done) < 4:
            return 0.0
        if len(done) == 3 + concurrency:
            roll_back(client, queue_name)
            return 0.0
        return 0.3

    with pytest.raises(DataLossDetected):
        rmq.run(handler, concurrency=concurrency, prefetch=1, stop_on_signals=False)
    stats = rmq.stats()
    assert len(done) == 3 + concurrency
    assert (stats.completed, stats.ready) == (len(done), 6 - len(done))
