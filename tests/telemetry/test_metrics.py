"""Metrics, with the real SDK."""

from __future__ import annotations

import gc
import os
import signal
import time
from typing import Any

import pytest

from tests.conformance.harness import FAST, ONCE, Mode, Order, broken, orders
from tests.conftest import MakeServer
from tests.telemetry.conftest import Sdk
from typed_rmq import PayloadError, Queue, QueueFull
from typed_rmq.otel import instrument

# What is sent is the same for all of them.
pytestmark = pytest.mark.servers("valkey")

Found = list[tuple[dict[str, Any], Any]]


def of(found: Found, **wanted: Any) -> Any:
    """The value with these attributes, their names cut down to the last word."""
    values = [
        value
        for attributes, value in found
        if wanted.items()
        <= {name.rpartition(".")[2]: one for name, one in attributes.items()}.items()
    ]
    assert len(values) == 1, (wanted, found)
    return values[0]


def test_what_was_published(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode, max_length=4)
    rmq.publish(Order(order_id=1))
    rmq.publish_many(orders(2, 3))
    with pytest.raises(PayloadError):
        rmq.publish({"order_id": "x"})
    rmq.publish(Order(order_id=4))
    with pytest.raises(QueueFull):
        rmq.publish(Order(order_id=5))
    found = sdk.metrics()
    sent = found["messaging.client.sent.messages"]
    assert {tuple(sorted(attributes.items())): value for attributes, value in sent} == {
        (
            ("messaging.destination.name", rmq.queue.name),
            ("messaging.operation.name", "publish"),
            ("messaging.operation.type", "send"),
            ("messaging.system", "typed_rmq"),
        ): 4,
        (
            ("error.type", "typed_rmq.errors.QueueFull"),
            ("messaging.destination.name", rmq.queue.name),
            ("messaging.operation.name", "publish"),
            ("messaging.operation.type", "send"),
            ("messaging.system", "typed_rmq"),
        ): 1,
    }
    durations = found["messaging.client.operation.duration"]
    assert sum(point.count for _, point in durations) == 5
    assert of(durations, type="typed_rmq.errors.PayloadError").count == 1


def test_what_was_consumed(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode, retry=ONCE)
    rmq.publish_many(orders(1, 2, 3))
    rmq.consume_all(lambda msg: (msg.payload.order_id == 2 and msg.reject("no")) or 0.02)
    found = sdk.metrics()
    assert of(found["messaging.client.consumed.messages"], name="claim") == 3
    processed = found["messaging.typed_rmq.processed.messages"]
    assert of(processed, outcome="done") == 2
    assert of(processed, outcome="dead") == 1
    durations = found["messaging.process.duration"]
    failed = of(durations, type="dead")
    good = next(point for attributes, point in durations if "error.type" not in attributes)
    assert (good.count, failed.count) == (2, 1)
    assert good.min >= 0.02
    assert list(good.explicit_bounds[:3]) == [0.005, 0.01, 0.025]
    claims = of(found["messaging.client.operation.duration"], name="claim")
    assert claims.count >= 1
    assert claims.sum > 0


def test_a_failing_handler_is_counted_with_its_error(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode, retry=FAST)
    rmq.publish(Order(order_id=1))
    mode.until(
        lambda: rmq.consume_all(broken) and rmq.stats().dead == 1,
    )
    found = sdk.metrics()
    (failed,) = found["messaging.process.duration"]
    assert failed[0]["error.type"].endswith("BrokenError")
    assert failed[1].count == 5
    assert of(found["messaging.typed_rmq.processed.messages"], outcome="retried") == 4


def test_how_long_messages_were_under_way(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode)
    rmq.publish(Order(order_id=1))
    time.sleep(0.2)
    rmq.consume_all()
    ((_, latency),) = sdk.metrics()["messaging.typed_rmq.delivery.latency"]
    assert latency.count == 1
    assert latency.sum >= 0.2
    assert latency.explicit_bounds[-1] == 3600


def test_how_the_queue_stands(sdk: Sdk, mode: Mode) -> None:
    rmq = sdk.open(mode, retry=ONCE)
    rmq.publish_many(orders(1, 2, 3))
    rmq.publish_many(orders(4, 5), delay=60)
    rmq.fail_all(max_messages=1)
    held = rmq.receive(5)
    time.sleep(0.1)
    found = sdk.metrics()
    messages = found["messaging.typed_rmq.queue.messages"]
    states = ("ready", "delayed", "in_flight", "dead")
    assert [of(messages, state=state) for state in states] == [1, 2, 1, 1]
    assert messages[0][0]["messaging.destination.name"] == rmq.queue.name
    assert of(found["messaging.typed_rmq.queue.lag"]) == 2
    assert of(found["messaging.typed_rmq.queue.oldest_age"]) >= 0.1
    assert of(found["messaging.typed_rmq.queue.consumers"]) == 1
    held.ack()


def test_many_queues_share_the_instruments(
    sdk: Sdk, mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    first = sdk.open(mode)
    second = sdk.open(mode, name=f"{mode.queue_name}-second")
    silent = sdk.open(mode, name=f"{mode.queue_name}-third", instrumented={"gauges": False})
    for rmq in (first, second, silent):
        rmq.publish(Order(order_id=1))
    found = sdk.metrics()
    sent = found["messaging.client.sent.messages"]
    assert [value for _, value in sent] == [1, 1, 1]
    lag = found["messaging.typed_rmq.queue.lag"]
    assert {attributes["messaging.destination.name"] for attributes, _ in lag} == {
        first.queue.name,
        second.queue.name,
    }
    assert "created already" not in caplog.text


def test_a_queue_that_is_gone_is_not_reported(redis_url: str, queue_name: str, sdk: Sdk) -> None:
    queue = Queue[int](queue_name, redis_url)
    instrument(queue, tracer_provider=sdk.tracers, meter_provider=sdk.meters)
    assert "messaging.typed_rmq.queue.lag" in sdk.metrics()
    queue.close()
    del queue
    gc.collect()
    assert "messaging.typed_rmq.queue.lag" not in sdk.metrics()


def test_a_collection_does_not_wait_for_a_redis_that_hangs(
    make_server: MakeServer, redis_url: str, queue_name: str, sdk: Sdk
) -> None:
    server = make_server(tcp=True)
    dead, alive = Queue[int]("dead", server.url), Queue[int](queue_name, redis_url)
    with dead, alive:
        for queue in (dead, alive):
            instrument(queue, tracer_provider=sdk.tracers, meter_provider=sdk.meters)
        dead.publish(1)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            lag = sdk.metrics()["messaging.typed_rmq.queue.lag"]
            took = time.monotonic() - began
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert [one["messaging.destination.name"] for one, _ in lag] == [queue_name]
        assert took < 20, "two seconds are waited, not the retry budget of thirty"
        # It is back, and asked again.
        deadline = time.monotonic() + 60
        while len(sdk.metrics()["messaging.typed_rmq.queue.lag"]) != 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
