"""Looking and steering: stats, peek, the log of completions, pause, purge, and events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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
    utc,
)
from typed_rmq import ConfigError, Message, Observer, QueueStats, Retry

# --- stats


def test_the_stats_of_an_untouched_queue(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    stats = rmq.stats()
    assert stats == QueueStats(0, 0, 0, 0, 0, 0.0, 0, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert keys.all() == {}


def test_every_number_of_the_stats(mode: Mode) -> None:
    rmq = mode.open(retry=Retry(max_attempts=2, backoff=0), keep_done=100)
    rmq.publish_many(orders(*range(10)))
    rmq.publish(Order(order_id=0))
    rmq.publish(Order(order_id=50), delay=60)
    taken = [rmq.receive() for _ in range(8)]
    for msg in taken[:3]:
        msg.ack()
    taken[3].reject("no")
    taken[4].retry(delay=60)
    taken[5].release()
    rmq.settle(taken[0])
    stats = rmq.stats()
    assert (stats.ready, stats.delayed, stats.in_flight) == (3, 2, 2)
    assert (stats.dead, stats.done, stats.consumers, stats.paused) == (1, 3, 1, False)
    assert (stats.published, stats.duplicates, stats.completed) == (11, 1, 3)
    assert (stats.failed, stats.retried, stats.dead_lettered) == (2, 1, 1)
    assert (stats.released, stats.stale, stats.dropped) == (1, 0, 0)
    assert 0 < stats.oldest_age < 10
    with pytest.raises(AttributeError):
        stats.ready = 0
    for msg in taken[6:]:
        msg.ack()


@timed
def test_oldest_age_is_that_of_the_oldest_ready_message(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1), delay=60)
    assert rmq.stats().oldest_age == 0.0
    rmq.publish(Order(order_id=2), priority="low")
    mode.sleep(0.2)
    rmq.publish(Order(order_id=3), priority="high")
    assert 0.2 <= rmq.stats().oldest_age < 3


def test_consumers_are_counted_while_they_live(mode: Mode) -> None:
    rmq = mode.open()
    jobs = [rmq.later("each", idle_timeout=0.4) for _ in range(2)]
    mode.until(lambda: rmq.stats().consumers == 2)
    for job in jobs:
        job.result()
    assert rmq.stats().consumers == 0


# --- peek


def test_peek_at_ready_messages(mode: Mode) -> None:
    rmq = mode.open()
    first = rmq.publish(Order(order_id=1), headers={"a": "b"})
    rmq.publish_many(orders(2, 3, 4))
    (seen,) = rmq.peek(1)
    assert (seen.id, seen.state, seen.payload) == (first.id, "ready", Order(order_id=1))
    assert (seen.attempt, seen.headers, seen.priority) == (1, {"a": "b"}, "normal")
    assert seen.raw == b'{"order_id":1,"sku":"A-1"}'
    assert abs(utc(seen.published_at) - datetime.now(UTC)) < timedelta(seconds=5)
    rest = (seen.due_at, seen.consumer, seen.finished_at, seen.duration, seen.reason)
    assert rest == (None,) * 5
    assert ids([one.payload for one in rmq.peek(3)]) == [1, 2, 3]
    assert len(rmq.peek()) == 4
    # It takes nothing.
    assert ids(rmq.consume_all()) == [1, 2, 3, 4]
    assert rmq.peek() == []


def test_peek_at_delayed_messages_in_the_order_of_their_time(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1), delay=100)
    rmq.publish(Order(order_id=2), delay=50)
    seen = rmq.peek(state="delayed")
    assert ids([one.payload for one in seen]) == [2, 1]
    assert 48 < (utc(seen[0].due_at) - datetime.now(UTC)).total_seconds() <= 50
    assert rmq.peek() == []


def test_peek_at_what_is_in_flight(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    msg = rmq.receive()
    (seen,) = rmq.peek(state="in_flight")
    assert (seen.id, seen.state, seen.payload, seen.attempt) == (
        msg.id,
        "in_flight",
        msg.payload,
        1,
    )
    assert seen.consumer
    msg.ack()


def test_peek_at_dead_letters_the_newest_first(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    rmq.consume_all(lambda msg: msg.reject(f"reason {msg.payload.order_id}"))
    seen = rmq.peek(state="dead")
    assert [one.reason for one in seen] == ["reason 2", "reason 1"]
    assert ids([one.payload for one in seen]) == [2, 1]
    assert abs(utc(seen[0].finished_at) - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.servers("valkey")
@pytest.mark.parametrize(("n", "state"), [(0, "ready"), (1001, "ready"), (10, "lost")])
def test_wrong_peeks(mode: Mode, n: int, state: Any) -> None:
    rmq = mode.open()
    with pytest.raises(ConfigError):
        rmq.peek(n, state)


# --- the log of completions


def test_completions_are_kept_if_wanted(mode: Mode) -> None:
    rmq = mode.open(keep_done=3, retry=FAST)
    rmq.publish_many(orders(*range(5)))
    rmq.consume_all(lambda msg: 0.03)
    seen = rmq.peek(state="done")
    assert ids([one.payload for one in seen]) == [4, 3, 2]
    assert rmq.stats().done == 3
    assert rmq.stats().completed == 5
    assert [one.state for one in seen] == ["done"] * 3
    assert 0.02 < seen[0].duration < 2
    assert utc(seen[0].published_at) <= utc(seen[0].finished_at)


def test_completions_are_not_kept_by_default(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    rmq.consume_all()
    assert rmq.peek(state="done") == []
    assert "done" not in keys.all()


def test_a_done_message_says_which_attempt_it_took(mode: Mode) -> None:
    rmq = mode.open(keep_done=10, retry=FAST)
    rmq.publish(Order(order_id=1))

    def body(msg: Message[Order]) -> None:
        if msg.attempt < 3:
            broken(msg)

    rmq.consume_all(body)
    (seen,) = rmq.peek(state="done")
    assert seen.attempt == 3


# --- pause and resume


def test_a_paused_queue_hands_out_nothing(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    rmq.pause()
    assert rmq.stats().paused
    assert rmq.consume_all() == []
    assert rmq.receive() is None
    assert rmq.each(idle_timeout=0.1) == []
    rmq.publish(Order(order_id=3))
    assert rmq.stats().ready == 3
    rmq.pause()
    rmq.resume()
    assert not rmq.stats().paused
    assert ids(rmq.consume_all()) == [1, 2, 3]


def test_what_is_in_hand_is_finished_in_a_paused_queue(mode: Mode) -> None:
    rmq = mode.open(retry=FAST)
    rmq.publish_many(orders(1, 2, 3))
    taken = [rmq.receive() for _ in range(3)]
    rmq.pause()
    taken[0].ack()
    taken[1].retry(delay=0)
    taken[2].release()
    rmq.settle(taken[0])
    stats = rmq.stats()
    assert (stats.completed, stats.ready, stats.in_flight) == (1, 2, 0)
    rmq.resume()
    assert sorted(ids(rmq.consume_all())) == [2, 3]


def test_a_pause_holds_for_every_consumer_of_the_queue(mode: Mode) -> None:
    rmq, other = mode.open(), mode.open()
    rmq.pause()
    other.publish(Order(order_id=1))
    assert other.consume_all() == []
    other.resume()
    assert ids(rmq.consume_all()) == [1]


# --- purge


def test_purge_deletes_what_waits_and_frees_its_keys(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    held = rmq.receive()
    rmq.publish(Order(order_id=2), priority="high")
    rmq.publish(Order(order_id=3), priority="low")
    rmq.publish(Order(order_id=4), delay=60)
    rmq.publish_many(orders(5, 6))
    assert rmq.purge() == 5
    stats = rmq.stats()
    assert (stats.ready, stats.delayed, stats.in_flight) == (0, 0, 1)
    assert not any(receipt.duplicate for receipt in rmq.publish_many(orders(2, 3, 4, 5, 6)))
    # What a consumer holds is not touched, nor its key.
    assert rmq.publish(Order(order_id=1)).duplicate
    held.ack()
    rmq.settle(held)
    assert rmq.purge() == 5
    assert rmq.purge() == 0
    assert {key.split(":")[0] for key in keys.all()} <= {
        "stats",
        "meta",
        "lane",
        "dedup",
        "sessions",
    }


def test_purge_of_more_than_one_call_can_take(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(*range(2300)), batch=1000)
    assert rmq.purge() == 2300
    assert rmq.stats().ready == 0


def test_purge_leaves_dead_letters(mode: Mode) -> None:
    rmq = mode.open(retry=ONCE)
    rmq.publish(Order(order_id=1))
    rmq.fail_all()
    assert rmq.purge() == 0
    assert rmq.stats().dead == 1


# --- events


def test_each_event_is_told(mode: Mode) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder], retry=Retry(max_attempts=2, backoff=0))
    first = rmq.publish(Order(order_id=1))
    rmq.publish(Order(order_id=1))
    second, third = rmq.publish_many(orders(2, 3))
    names = [(name, event.queue) for name, event in recorder.events]
    assert names == [(name, mode.queue_name) for name in ("published", "duplicate", "published")]
    assert recorder.events[0][1].message_ids == (first.id,)
    assert recorder.events[1][1].message_id == first.id
    assert recorder.events[2][1].message_ids == (second.id, third.id)
    recorder.events.clear()

    def body(msg: Message[Order]) -> None:
        if msg.payload.order_id == 2:
            broken(msg)

    rmq.consume_all(body, prefetch=1)
    claimed = [one for event in recorder.told("claimed") for one in event.message_ids]
    assert claimed == [first.id, second.id, third.id, second.id]
    outcomes = [(event.message_id, event.outcome) for event in recorder.told("settled")]
    assert outcomes == [
        (first.id, "done"),
        (second.id, "retried"),
        (third.id, "done"),
        (second.id, "dead"),
    ]
    (retried,) = recorder.told("retried")
    assert (retried.message_id, retried.delay) == (second.id, 0.0)
    (dead,) = recorder.told("dead")
    assert (dead.message_id, dead.reason) == (second.id, "its handler raised in attempt 2 of 2")
    assert recorder.told("stale") == recorder.told("lease_lost") == recorder.told("data_loss") == []


def test_an_undecodable_message_is_told_as_dead(mode: Mode, keys: Keys) -> None:
    recorder = Recorder()
    rmq = mode.open(int, observers=[recorder])
    receipt = mode.open(str).publish("text")
    assert rmq.consume_all() == []
    (dead,) = recorder.told("dead")
    assert dead.message_id == receipt.id


def test_lost_leases_are_told(mode: Mode, keys: Keys) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder])
    receipt = rmq.publish(Order(order_id=1))
    msg = rmq.receive()
    (session,) = keys.client.zrange(keys("sessions"), 0, -1)
    # As reaping does it.
    keys.client.delete(keys(f"inflight:{session.decode()}"))
    keys.client.zrem(keys("sessions"), session)
    assert rmq.receive() is None
    (event,) = recorder.told("lease_lost")
    assert [one[:24] for one in event.message_ids] == [receipt.id]
    assert msg.lease_lost
    assert not msg.held


class Raises(Observer):
    """Every method raises."""

    def __getattribute__(self, name: str) -> Any:
        if name in vars(Observer) and not name.startswith("_"):
            return broken
        return super().__getattribute__(name)


def test_an_observer_that_raises_never_disturbs(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[Raises(), recorder], retry=ONCE)
    rmq.publish_many(orders(1, 2))
    rmq.publish(Order(order_id=1))
    assert ids(rmq.fail_all()) == [1, 2]
    rmq.dead_redrive()
    assert ids(rmq.consume_all()) == [1, 2]
    stats = rmq.stats()
    assert (stats.published, stats.duplicates, stats.completed, stats.dead) == (2, 1, 2, 0)
    assert len(recorder.told("settled")) == 4
    assert "an observer's published() failed" in caplog.text
