"""What an observer is told of the beginning and the end of publishing and handling."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.harness import (
    FAST,
    ONCE,
    BrokenError,
    Mode,
    Order,
    Recorder,
    broken,
    orders,
)
from typed_rmq import Observer, PayloadError, Queue
from typed_rmq.events import Claimed, Handled, Handling, PublishEnded, Publishing, Settlement
from typed_rmq.watching import WatchedCore

# The scripts are the same for all of them.
pytestmark = pytest.mark.servers("valkey")


class Watcher(Observer):
    """Keeps what began, what ended, and what is under way."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self.headers = headers or {}
        self.publishes: list[tuple[Publishing, PublishEnded]] = []
        self.handled: list[tuple[Handling, Handled]] = []
        self.threads: list[int] = []
        self.now: list[Handling] = []

    def publishing(self, event: Publishing) -> Callable[[PublishEnded], object]:
        event.headers.update(self.headers)
        return lambda end: self.publishes.append((event, end))

    def handling(self, event: Handling) -> Callable[[Handled], object]:
        self.threads.append(threading.get_ident())
        self.now.append(event)

        def end(handled: Handled) -> None:
            self.now.remove(event)
            self.handled.append((event, handled))

        return end

    @property
    def outcomes(self) -> list[Any]:
        assert self.now == []
        return [handled.outcome for _, handled in self.handled]

    @property
    def errors(self) -> list[Any]:
        return [handled.error for _, handled in self.handled]


# --- publishing


def test_a_publish_is_told_when_it_begins_and_when_it_has_ended(mode: Mode) -> None:
    watcher = Watcher({"traceparent": "00-1"})
    rmq = mode.open(observers=[watcher])
    receipt = rmq.publish(Order(order_id=1), headers={"mine": "yes"})
    begun, ended = watcher.publishes.pop()
    assert (begun.queue, begun.many) == (rmq.queue.name, False)
    assert (ended.receipts, ended.error) == ((receipt,), None)
    receipts = rmq.publish_many(orders(2, 3, 4), batch=2)
    begun, ended = watcher.publishes.pop()
    assert begun.many
    assert ended.receipts == tuple(receipts)
    seen = rmq.peek(10)
    assert [one.headers for one in seen] == [
        {"mine": "yes", "traceparent": "00-1"},
        *[{"traceparent": "00-1"}] * 3,
    ]


def test_a_publish_that_fails_is_told_with_its_error(mode: Mode) -> None:
    watcher = Watcher()
    rmq = mode.open(observers=[watcher], max_length=2)
    with pytest.raises(PayloadError) as caught:
        rmq.publish({"order_id": "x"})
    assert watcher.publishes.pop()[1] == PublishEnded((), caught.value)
    with pytest.raises(PayloadError) as caught:
        rmq.publish_many([*orders(1, 2), {"order_id": "x"}], batch=1)
    ended = watcher.publishes.pop()[1]
    assert (len(ended.receipts), ended.error) == (2, caught.value)


def test_headers_of_the_caller_are_not_changed(mode: Mode) -> None:
    rmq = mode.open(observers=[Watcher({"traceparent": "00-1"})])
    mine = {"mine": "yes"}
    rmq.publish(Order(order_id=1), headers=mine)
    assert mine == {"mine": "yes"}


# --- handling


@pytest.mark.parametrize("style", ["with", "bare"])
@pytest.mark.parametrize("leave", [None, "break", "return"])
def test_handling_ends_when_the_loop_goes_on_or_is_left(
    mode: Mode, style: str, leave: str | None
) -> None:
    watcher = Watcher()
    rmq = mode.open(observers=[watcher])
    receipts = rmq.publish_many(orders(1, 2, 3), headers={"a": "b"})
    at_work: list[list[str]] = []

    def body(msg: Any) -> Any:
        at_work.append([handling.delivery.id for handling in watcher.now])
        return leave if len(at_work) == 3 else None

    rmq.each(body, style=style, until_empty=True)
    assert at_work == [[receipt.id] for receipt in receipts]
    assert watcher.outcomes == ["done"] * 3
    assert watcher.errors == [None] * 3
    delivery = watcher.handled[0][0].delivery
    assert (delivery.attempt, delivery.headers) == (1, {"a": "b"})
    assert delivery.published_at is not None
    assert "attempt 1" in repr(delivery)


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [("ack", "done"), ("retry", "retried"), ("release", "released"), ("reject", "dead")],
)
@pytest.mark.parametrize("style", ["with", "bare"])
def test_a_verdict_in_the_middle_does_not_end_it(
    mode: Mode, style: str, verdict: str, outcome: str
) -> None:
    watcher = Watcher()
    rmq = mode.open(observers=[watcher])
    rmq.publish(Order(order_id=1))

    def body(msg: Any) -> None:
        getattr(msg, verdict)(*(["no"] if verdict == "reject" else [60] * (verdict == "retry")))
        assert len(watcher.now) == 1

    rmq.each(body, style=style, max_messages=1)
    assert watcher.outcomes == [outcome]


@pytest.mark.parametrize("managed", [False, True])
@pytest.mark.parametrize("style", ["with", "bare"])
def test_a_failure_is_told_with_its_error_where_it_was_seen(
    mode: Mode, style: str, managed: bool
) -> None:
    watcher = Watcher()
    rmq = mode.open(observers=[watcher], retry=ONCE)
    rmq.publish(Order(order_id=1))
    if style == "with":
        rmq.each(broken, managed=managed, until_empty=True)
    else:
        with pytest.raises(BrokenError):
            rmq.each(broken, style="bare", managed=managed, until_empty=True)
        mode.until(lambda: watcher.handled)
    assert watcher.outcomes == ["dead"]
    seen = style == "with" or managed
    assert [type(error) for error in watcher.errors] == [BrokenError if seen else type(None)]


def test_an_interrupt_gives_back(mode: Mode) -> None:
    watcher = Watcher()
    rmq = mode.open(observers=[watcher])
    rmq.publish(Order(order_id=1))

    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rmq.each(stop, until_empty=True)
    mode.until(lambda: watcher.handled)
    assert watcher.outcomes == ["released"]
    assert isinstance(watcher.errors[0], KeyboardInterrupt)


def test_each_delivery_is_told(mode: Mode) -> None:
    watcher = Watcher()
    rmq = mode.open(observers=[watcher], retry=FAST)
    rmq.publish(Order(order_id=1))
    mode.until(lambda: rmq.fail_all() and len(watcher.handled) == 5)
    assert [begun.delivery.attempt for begun, _ in watcher.handled] == [1, 2, 3, 4, 5]
    assert watcher.outcomes == ["retried"] * 4 + ["dead"]


def test_a_worker_tells_from_the_thread_that_handles(mode: Mode) -> None:
    watcher = Watcher()
    rmq = mode.open(observers=[watcher])
    rmq.publish_many(orders(*range(40)))
    working: set[int] = set()

    def work(_: Order) -> float:
        working.add(threading.get_ident())
        return 0.01

    rmq.run(work, concurrency=4, until_empty=True)
    assert watcher.outcomes == ["done"] * 40
    assert set(watcher.threads) == working


def test_a_received_message_is_handled_in_its_block(mode: Mode) -> None:
    watcher = Watcher()
    rmq = mode.open(observers=[watcher])
    rmq.publish_many(orders(1, 2))
    message = rmq.receive(5)
    assert watcher.now == []
    with message:
        assert len(watcher.now) == 1
    assert watcher.outcomes == ["done"]
    rmq.receive(5).ack()
    assert len(watcher.handled) == 1


# --- what is told of calls


def test_claims_and_settlements_are_told_in_bulk_and_with_their_time(mode: Mode) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder])
    rmq.publish_many(orders(1, 2, 3), headers={"a": "b"})
    rmq.consume_all(prefetch=3)
    (claimed,) = recorder.told("claimed")
    assert isinstance(claimed, Claimed)
    assert [one.id for one in claimed.deliveries] == list(claimed.message_ids)
    assert [one.headers for one in claimed.deliveries] == [{"a": "b"}] * 3
    assert 0 < claimed.seconds < 60
    settlements: list[Settlement] = recorder.told("settlement")
    assert [one for each in settlements for one in each.outcomes] == [
        (message_id, "done") for message_id in claimed.message_ids
    ]
    assert all(each.seconds > 0 and each.stale == () for each in settlements)


def test_waiting_for_a_message_counts_as_asking(mode: Mode) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder])
    job = rmq.later("each", max_messages=1)
    mode.sleep(0.3)
    rmq.publish(Order(order_id=1))
    job.result()
    (claimed,) = recorder.told("claimed")
    assert claimed.seconds > 0.2


def test_a_delivery_of_foreign_bytes_reads_as_nothing(mode: Mode, keys: Any) -> None:
    recorder = Recorder()
    rmq = mode.open(observers=[recorder])
    keys.client.rpush(keys("ready:normal"), b"x" * 80)
    assert rmq.consume_all() == []
    for claimed in recorder.told("claimed"):
        for delivery in claimed.deliveries:
            assert (delivery.attempt, delivery.published_at, delivery.headers) == (0, None, {})


# --- who is told


def test_an_observer_that_raises_never_disturbs_what_it_watches(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    class Raises(Observer):
        def publishing(self, event: Publishing) -> Callable[[PublishEnded], object]:
            raise RuntimeError

        def handling(self, event: Handling) -> Callable[[Handled], object]:
            def end(_: Handled) -> None:
                raise RuntimeError

            return end

    watcher = Watcher()
    rmq = mode.open(observers=[watcher, Raises()])
    rmq.publish(Order(order_id=1))
    assert rmq.consume_all() == orders(1)
    assert watcher.outcomes == ["done"]
    assert "an observer's publishing() failed" in caplog.text
    assert "an observer's end of handling() failed" in caplog.text


def test_an_observer_can_come_later(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    watcher = Watcher()
    rmq.queue.observe(watcher)
    rmq.publish(Order(order_id=2))
    assert len(watcher.publishes) == 1
    assert len(rmq.consume_all()) == 2
    assert watcher.outcomes == ["done"] * 2


def test_a_queue_that_nobody_watches_pays_nothing(redis_url: str, queue_name: str) -> None:
    class Counts(Observer):
        def published(self, event: Any) -> None: ...

    for observers, watched in (([], False), ([Counts()], False), ([Watcher()], True)):
        with Queue[int](queue_name, redis_url, observers=observers) as queue:
            session = queue.consume().sync_session()
            assert isinstance(session.core, WatchedCore) is watched
            session.close()
            assert bool(queue._parts.observers.on_publishing) is watched
