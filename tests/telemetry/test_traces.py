"""Traces, with the real SDK: names, kinds, attributes, parents, links, and the current span."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from tests.conformance.harness import FAST, ONCE, BrokenError, Mode, Order, broken, orders
from tests.telemetry.conftest import Sdk
from typed_rmq import ConfigError, PayloadError, Queue
from typed_rmq.otel import instrument

# What is sent is the same for all of them.
pytestmark = pytest.mark.servers("valkey")


def ids(span: Any) -> tuple[int, int]:
    found = span.get_span_context() if hasattr(span, "get_span_context") else span.context
    return found.trace_id, found.span_id


def parent(span: ReadableSpan) -> tuple[int, int] | None:
    return None if span.parent is None else (span.parent.trace_id, span.parent.span_id)


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


# --- publish


def test_a_publish_is_a_producer_span_and_goes_with_the_message(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    receipt = rmq.publish(Order(order_id=1), headers={"mine": "yes"})
    (span,) = sdk.spans()
    assert span.name == f"publish {rmq.queue.name}"
    assert span.kind is SpanKind.PRODUCER
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "messaging.system": "typed_rmq",
        "messaging.destination.name": rmq.queue.name,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.message.id": receipt.id,
        "messaging.typed_rmq.duplicate": False,
    }
    (seen,) = rmq.peek()
    trace_id, span_id = ids(span)
    assert seen.headers.keys() == {"mine", "traceparent"}
    assert seen.headers["traceparent"].startswith(f"00-{trace_id:032x}-{span_id:016x}-")


def test_a_publish_of_many_is_one_span(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    rmq.publish_many(orders(1, 2, 3), batch=2)
    (span,) = sdk.spans()
    assert span.kind is SpanKind.PRODUCER
    assert attributes(span)["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in attributes(span)
    assert len({one.headers["traceparent"] for one in rmq.peek()}) == 1


def test_a_duplicate_says_so(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    first = rmq.publish(Order(order_id=1))
    rmq.publish(Order(order_id=1))
    _, again = sdk.spans()
    assert attributes(again)["messaging.typed_rmq.duplicate"] is True
    assert attributes(again)["messaging.message.id"] == first.id


def test_a_publish_is_part_of_the_trace_around_it(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    with sdk.tracer.start_as_current_span("request") as around:
        rmq.publish(Order(order_id=1))
        assert trace.get_current_span() is around
    assert parent(sdk.spans("publish")[0]) == ids(around)


def test_a_context_of_the_callers_own_is_kept(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    own = f"00-{7:032x}-{9:016x}-01"
    rmq.publish(Order(order_id=1), headers={"traceparent": own})
    (span,) = sdk.spans()
    assert span.kind is SpanKind.CLIENT
    assert links(span) == [(7, 9)]
    assert rmq.peek()[0].headers == {"traceparent": own}


def test_a_publish_that_fails(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    with pytest.raises(PayloadError):
        rmq.publish({"order_id": "hunter2"})
    (span,) = sdk.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "typed_rmq.errors.PayloadError"
    assert "hunter2" not in str([(event.name, event.attributes) for event in span.events])
    assert not trace.get_current_span().get_span_context().is_valid


# --- process


@pytest.mark.parametrize("style", ["with", "bare"])
def test_handling_goes_on_in_the_trace_of_the_publish(sdk: Sdk, mode: Mode, style: str) -> None:
    rmq = sdk.open(mode)
    receipts = [rmq.publish(order) for order in orders(1, 2)]
    inner: list[Any] = []

    def body(_: Any) -> None:
        with sdk.tracer.start_as_current_span("ship") as span:
            inner.append(span)

    rmq.each(body, style=style, until_empty=True)
    published, processed = sdk.spans("publish"), sdk.spans("process")
    for index in range(2):
        span = processed[index]
        assert span.name == f"process {rmq.queue.name}"
        assert span.kind is SpanKind.CONSUMER
        assert span.status.status_code is StatusCode.UNSET
        assert parent(span) == ids(published[index])
        assert links(span) == [ids(published[index])]
        assert attributes(span) == {
            "messaging.system": "typed_rmq",
            "messaging.destination.name": rmq.queue.name,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.message.id": receipts[index].id,
            "messaging.typed_rmq.attempt": 1,
            "messaging.typed_rmq.outcome": "done",
        }
        assert parent(inner[index]) == ids(span)
    assert not trace.get_current_span().get_span_context().is_valid


def test_in_a_trace_of_its_own_handling_only_links(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    rmq.publish(Order(order_id=1))
    (published,) = sdk.spans("publish")

    if mode.name == "sync":
        with sdk.tracer.start_as_current_span("job") as around:
            rmq.consume_all()
    else:

        async def job() -> Any:
            with sdk.tracer.start_as_current_span("job") as around:
                await rmq.operations.each(None, until_empty=True)
                return around

        around = mode.call(job)
    (processed,) = sdk.spans("process")
    assert parent(processed) == ids(around)
    assert links(processed) == [ids(published)]
    assert [parent(span) for span in sdk.spans("claim")] == [ids(around)]


def test_without_joining_handling_begins_a_trace(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode, instrumented={"join_traces": False})
    rmq.publish(Order(order_id=1))
    rmq.consume_all()
    (published,), (processed,) = sdk.spans("publish"), sdk.spans("process")
    assert parent(processed) is None
    assert ids(processed)[0] != ids(published)[0]
    assert links(processed) == [ids(published)]


def test_a_message_from_an_untraced_producer(sdk: Sdk, mode: Mode) -> None:
    mode.open().publish(Order(order_id=1))
    rmq = sdk.open(mode)
    rmq.consume_all()
    (processed,) = sdk.spans("process")
    assert parent(processed) is None
    assert links(processed) == []
    assert [links(span) for span in sdk.spans("claim")] == [[]]


def test_failures_and_each_redelivery_are_spans_of_the_same_trace(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode, retry=FAST)
    rmq.publish(Order(order_id=1))
    mode.until(lambda: rmq.fail_all() and len(sdk.spans("process")) == 5)
    (published,) = sdk.spans("publish")
    for attempt, span in enumerate(sdk.spans("process"), start=1):
        assert parent(span) == ids(published)
        assert span.status.status_code is StatusCode.ERROR
        found = attributes(span)
        assert found["messaging.typed_rmq.attempt"] == attempt
        assert found["messaging.typed_rmq.outcome"] == ("dead" if attempt == 5 else "retried")
        assert found["error.type"] == f"{BrokenError.__module__}.BrokenError"
        (event,) = span.events
        assert event.name == "exception"
        assert event.attributes is not None
        assert event.attributes["exception.message"] == "out of paper"


@pytest.mark.parametrize(
    ("verdict", "error"),
    [("ack", None), ("release", None), ("retry", "retried"), ("reject", "dead")],
)
def test_verdicts_by_the_handler(sdk: Sdk, mode: Mode, verdict: str, error: str | None) -> None:
    rmq = sdk.open(mode)
    rmq.publish(Order(order_id=1))
    rmq.consume_all(
        lambda msg: getattr(msg, verdict)(
            *(["no"] if verdict == "reject" else [60] * (verdict == "retry"))
        ),
        max_messages=1,
    )
    (span,) = sdk.spans("process")
    assert attributes(span).get("error.type") == error
    assert (span.status.status_code is StatusCode.ERROR) is (error is not None)


def test_a_break_and_an_exception_end_the_span_and_leave_the_context(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode, retry=ONCE)
    rmq.publish_many(orders(1, 2))
    rmq.each(lambda _: "break", style="bare", prefetch=1)
    with pytest.raises(BrokenError):
        rmq.each(broken, style="bare", managed=True, until_empty=True)
    done, dead = sdk.spans("process")
    assert attributes(done)["messaging.typed_rmq.outcome"] == "done"
    assert attributes(dead)["error.type"].endswith("BrokenError")
    assert not trace.get_current_span().get_span_context().is_valid


def test_workers_keep_their_spans_apart(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    receipts = [rmq.publish(order) for order in orders(*range(24))]
    seen: dict[int, tuple[int, int]] = {}
    lock = threading.Lock()

    def work(order: Order) -> float:
        with lock:
            seen[order.order_id] = ids(trace.get_current_span())
        return 0.01

    rmq.run(work, concurrency=4, until_empty=True)
    by_message = {attributes(span)["messaging.message.id"]: span for span in sdk.spans("process")}
    published = {attributes(span)["messaging.message.id"]: span for span in sdk.spans("publish")}
    assert len(by_message) == 24
    for number, receipt in enumerate(receipts):
        span = by_message[receipt.id]
        assert seen[number] == ids(span)
        assert parent(span) == ids(published[receipt.id])


def test_a_received_message_is_processed_in_its_block(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    rmq.publish_many(orders(1, 2))
    first, second = rmq.receive(5), rmq.receive(5)
    with second:
        assert trace.get_current_span().get_span_context().is_valid
    assert not trace.get_current_span().get_span_context().is_valid
    first.ack()
    rmq.settle(first)
    assert [attributes(span)["messaging.message.id"] for span in sdk.spans("process")] == [
        second.id
    ]


def test_a_queue_consumed_inside_a_handler_of_another(sdk: Sdk, mode: Mode) -> None:
    outer, inner = sdk.open(mode), sdk.open(mode, name=f"{mode.queue_name}-inner")
    outer.publish(Order(order_id=1))
    inner.publish_many(orders(2, 3))

    if mode.name == "sync":
        outer.consume_all(lambda _: inner.consume_all() and None)
    else:

        async def both() -> None:
            async for msg in outer.queue.consume(until_empty=True):
                with msg:
                    await inner.operations.each(None, until_empty=True)

        mode.call(both)
    around = next(span for span in sdk.spans("process") if span.name.endswith(mode.queue_name))
    for span in sdk.spans("process"):
        if span is not around:
            assert parent(span) == ids(around)


def test_a_span_that_the_handler_leaves_open_does_not_spread(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    rmq.publish(Order(order_id=1))
    rmq.publish(Order(order_id=2))
    tokens: list[Any] = []

    def body(_: Any) -> None:
        span = sdk.tracer.start_span("forgotten")
        tokens.append(context.attach(trace.set_span_in_context(span)))

    rmq.consume_all(body)
    published, processed = sdk.spans("publish"), sdk.spans("process")
    assert parent(processed[1]) == ids(published[1])
    if mode.name == "sync":
        context.detach(tokens[0])
        context.attach(context.Context())


# --- claim and settle


def test_a_claim_links_each_message_of_the_batch(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    receipts = [rmq.publish(order) for order in orders(1, 2, 3)]
    rmq.consume_all(prefetch=3)
    (span,) = sdk.spans("claim")
    assert span.name == f"claim {rmq.queue.name}"
    assert span.kind is SpanKind.CLIENT
    assert attributes(span) == {
        "messaging.system": "typed_rmq",
        "messaging.destination.name": rmq.queue.name,
        "messaging.operation.name": "claim",
        "messaging.operation.type": "receive",
        "messaging.batch.message_count": 3,
    }
    assert links(span) == [ids(one) for one in sdk.spans("publish")]
    assert [(link.attributes or {})["messaging.message.id"] for link in span.links] == [
        receipt.id for receipt in receipts
    ]
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time < span.end_time


def test_settling_is_a_span_of_its_own(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    receipt = rmq.publish(Order(order_id=1))
    rmq.publish_many(orders(2, 3, 4))
    message = rmq.receive(5)
    message.ack()
    rmq.settle(message)
    (span,) = sdk.spans("settle")
    assert span.kind is SpanKind.CLIENT
    assert parent(span) is None
    assert attributes(span) == {
        "messaging.system": "typed_rmq",
        "messaging.destination.name": rmq.queue.name,
        "messaging.operation.name": "settle",
        "messaging.operation.type": "settle",
        "messaging.message.id": receipt.id,
    }
    rmq.consume_all(prefetch=3, ack_linger=5)
    assert attributes(sdk.spans("settle")[-1])["messaging.batch.message_count"] == 3


def test_a_verdict_that_comes_too_late(sdk: Sdk, mode: Mode, keys: Any) -> None:
    slow = sdk.open(mode, lease=60)
    slow.publish(Order(order_id=1))
    late = slow.receive()
    (session,) = keys.client.zrange(keys("sessions"), 0, -1)
    keys.client.zadd(keys("sessions"), {session: 1})
    taken = mode.open(lease=1).receive(timeout=5)
    late.ack()
    mode.until(lambda: sdk.spans("settle"))
    (span,) = sdk.spans("settle")
    assert attributes(span)["error.type"] == "LeaseLost"
    assert span.status.status_code is StatusCode.ERROR
    taken.ack()


def test_claims_and_settlements_are_no_children_of_a_message(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    rmq.publish_many(orders(*range(20)))
    rmq.consume_all(lambda _: 0.02, prefetch=4, ack_linger=0.001)
    assert len(sdk.spans("settle")) > 1
    for span in [*sdk.spans("claim"), *sdk.spans("settle")]:
        assert parent(span) is None


def test_waiting_makes_no_spans(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    assert rmq.each(idle_timeout=0.2) == []
    assert sdk.spans() == []


# --- the way in


def test_attributes_of_your_own_are_on_every_span(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode, instrumented={"attributes": {"server.address": "redis-1"}})
    rmq.publish(Order(order_id=1))
    rmq.consume_all()
    assert {span.name.split()[0] for span in sdk.spans()} == {
        "publish",
        "claim",
        "process",
        "settle",
    }
    assert {attributes(span)["server.address"] for span in sdk.spans()} == {"redis-1"}


def test_twice_is_refused(redis_url: str, queue_name: str, sdk: Sdk) -> None:
    with Queue[int](queue_name, redis_url) as queue:
        instrument(queue, tracer_provider=sdk.tracers, meter_provider=sdk.meters)
        with pytest.raises(ConfigError, match="already"):
            instrument(queue)


def test_without_an_sdk_nothing_is_sent_along(redis_url: str, queue_name: str) -> None:
    with Queue[int](queue_name, redis_url) as queue:
        instrument(queue)
        queue.publish(1)
        assert queue.peek()[0].headers == {}
        for msg in queue.consume(until_empty=True):
            with msg:
                pass


def test_sync_and_async_in_one_process(redis_url: str, queue_name: str, sdk: Sdk) -> None:
    with Queue[int](queue_name, redis_url) as queue:
        instrument(queue, tracer_provider=sdk.tracers, meter_provider=sdk.meters)
        queue.publish(1)

        async def consume() -> None:
            async with queue:
                async for msg in queue.consume(until_empty=True):
                    with msg:
                        await asyncio.to_thread(sdk.tracer.start_span("in a thread").end)

        asyncio.run(consume())
    (processed,) = sdk.spans("process")
    assert parent(sdk.spans("in a thread")[0]) == ids(processed)


def test_a_failure_is_logged_while_its_span_is_current(sdk: Sdk, mode: Mode) -> None:
    logged: list[tuple[int, int]] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append(ids(trace.get_current_span()))

    rmq = sdk.open(mode, retry=ONCE)
    rmq.publish(Order(order_id=1))
    handler = Keeps(logging.ERROR)
    logging.getLogger("typed_rmq").addHandler(handler)
    try:
        rmq.fail_all()
    finally:
        logging.getLogger("typed_rmq").removeHandler(handler)
    assert logged == [ids(span) for span in sdk.spans("process")]
