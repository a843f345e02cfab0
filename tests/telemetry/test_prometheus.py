"""The exporter, scraped over HTTP as Prometheus does it, and read with its client's own parser."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, make_asgi_app, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.harness import FAST, ONCE, Mode, Order, orders
from tests.conftest import MakeServer
from typed_rmq import ConfigError, Queue
from typed_rmq.prometheus import instrument, make_collector
from typed_rmq.prometheus.__main__ import main
from typed_rmq.prometheus.collector import COUNTERS, STATES

# What is sent is the same for all of them.
pytestmark = pytest.mark.servers("valkey")

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """(name, sorted labels) -> value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(url: str) -> Samples:
    with urllib.request.urlopen(url, timeout=30) as response:
        assert response.status == 200
        return samples(response.read().decode())


def until(condition: Callable[[], Any], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.05)


def of(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"typed_rmq_{name}", tuple(sorted(labels.items()))))


@contextmanager
def serving(registry: CollectorRegistry) -> Iterator[str]:
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- the collector


def test_a_scrape_says_what_stats_says(mode: Mode) -> None:
    rmq = mode.open(retry=FAST, keep_done=10)
    rmq.publish_many(orders(1, 2, 3, 4))
    rmq.publish(Order(order_id=1))
    rmq.publish(Order(order_id=5), delay=60)
    rmq.consume_all(lambda msg: msg.reject("no"), max_messages=1)
    rmq.fail_all(max_messages=1)
    rmq.consume_all(max_messages=1)
    held = rmq.receive(5)
    rmq.pause()
    registry = CollectorRegistry()
    registry.register(make_collector([rmq.queue]))
    with serving(registry) as url:
        found = scrape(url)
    stats, name = rmq.stats(), rmq.queue.name
    for state in STATES:
        assert of(found, "messages", queue=name, state=state) == getattr(stats, state), state
    for counter in COUNTERS:
        assert of(found, f"{counter}_total", queue=name) == getattr(stats, counter), counter
    assert stats.duplicates == stats.retried == stats.dead_lettered == stats.in_flight == 1
    assert of(found, "up", queue=name) == 1
    assert of(found, "consumers", queue=name) == stats.consumers == 1
    assert of(found, "paused", queue=name) == 1
    oldest = of(found, "oldest_age_seconds", queue=name)
    assert oldest is not None
    assert 0 < oldest <= stats.oldest_age + 60
    held.ack()


def test_registering_asks_nothing_of_redis() -> None:
    nowhere = Queue[int]("nowhere", "redis://127.0.0.1:1/0")
    registry = CollectorRegistry(auto_describe=True)
    began = time.monotonic()
    registry.register(make_collector([nowhere]))
    assert time.monotonic() - began < 20


def test_two_queues_of_one_name_are_refused() -> None:
    queues = [Queue[int]("same", f"redis://127.0.0.1:{port}/0") for port in (1, 2)]
    with pytest.raises(ConfigError, match="same"):
        make_collector(queues)


def test_many_queues(redis_url: str, queue_name: str) -> None:
    queues = [Queue[int](f"{queue_name}-{number}", redis_url) for number in range(30)]
    registry = CollectorRegistry()
    registry.register(make_collector(queues))
    for number, queue in enumerate(queues):
        queue.publish_many(range(number))
    with serving(registry) as url:
        found = scrape(url)
    for number, queue in enumerate(queues):
        assert of(found, "published_total", queue=queue.name) == number
        queue.close()


def test_a_scrape_does_not_wait_for_a_redis_that_hangs(
    make_server: MakeServer, redis_url: str, queue_name: str
) -> None:
    server = make_server(tcp=True)
    registry = CollectorRegistry()
    with Queue[int]("hangs", server.url) as hangs, Queue[int](queue_name, redis_url) as alive:
        registry.register(make_collector([hangs, alive], timeout=1))
        hangs.publish(1)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with serving(registry) as url:
                found, again = scrape(url), scrape(url)
            took = time.monotonic() - began
        finally:
            os.kill(server.pid, signal.SIGCONT)
        for seen in (found, again):
            assert of(seen, "up", queue="hangs") == 0
            assert of(seen, "published_total", queue="hangs") is None
            assert of(seen, "up", queue=queue_name) == 1
            assert of(seen, "published_total", queue=queue_name) == 0
        assert took < 20, "a second is waited, not the retry budget of thirty"
        with serving(registry) as url:
            until(lambda: of(scrape(url), "up", queue="hangs") == 1)
            assert of(scrape(url), "published_total", queue="hangs") == 1


# --- in the process at work


def test_handling_and_latency_are_timed(mode: Mode) -> None:
    registry = CollectorRegistry()
    rmq = mode.open(retry=ONCE)
    instrument(rmq.queue, registry=registry)
    rmq.publish_many(orders(1, 2, 3))
    rmq.consume_all(lambda _: 0.05, max_messages=2)
    rmq.fail_all()
    with serving(registry) as url:
        found = scrape(url)
    name = rmq.queue.name
    assert of(found, "handling_seconds_count", queue=name, outcome="done") == 2
    assert of(found, "handling_seconds_count", queue=name, outcome="dead") == 1
    assert of(found, "handling_seconds_bucket", queue=name, outcome="done", le="0.025") == 0
    assert (of(found, "handling_seconds_sum", queue=name, outcome="done") or 0) >= 0.1
    assert of(found, "latency_seconds_count", queue=name) == 2
    assert (of(found, "latency_seconds_sum", queue=name) or 0) >= 0.1


def test_queues_share_the_histograms(redis_url: str, queue_name: str) -> None:
    registry = CollectorRegistry()
    for number in range(2):
        with Queue[int](f"{queue_name}-{number}", redis_url) as queue:
            instrument(queue, registry=registry)
            with pytest.raises(ConfigError, match="already"):
                instrument(queue, registry=registry)
            queue.publish(1)
            queue.run(lambda _: None, until_empty=True, concurrency=2)
    for number in range(2):
        labels = {"queue": f"{queue_name}-{number}"}
        assert registry.get_sample_value("typed_rmq_latency_seconds_count", labels) == 1


def test_mounted_in_an_asgi_app(
    redis_url: str, queue_name: str, run_async: Callable[[Any], Any]
) -> None:
    import httpx
    from fastapi import FastAPI

    registry = CollectorRegistry()
    app = FastAPI()
    app.mount("/metrics", make_asgi_app(registry))
    with Queue[int](queue_name, redis_url) as queue:
        registry.register(make_collector([queue]))
        queue.publish_many([1, 2])

        async def get() -> str:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                response = await client.get("/metrics/")
            # httpx leaves a task behind that closes the request's empty body.
            await asyncio.sleep(0.01)
            assert response.status_code == 200
            return response.text

        found = samples(run_async(get()))
    assert of(found, "messages", queue=queue_name, state="ready") == 2


# --- the exporter as a process


class Exporter:
    def __init__(self, *options: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "typed_rmq.prometheus", *options],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Its exit code, and what else it said."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out + err


@pytest.fixture
def exporter() -> Iterator[Callable[..., Exporter]]:
    started: list[Exporter] = []

    def start(*options: str, **environment: str) -> Exporter:
        started.append(Exporter(*options, **environment))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_the_exporter_serves_until_a_signal(
    exporter: Callable[..., Exporter], redis_url: str, queue_name: str, number: int
) -> None:
    second = f"{queue_name}-second"
    options = ["--queue", queue_name, "--queue", second, "--port", "0"]
    if number == signal.SIGINT:
        process = exporter("--redis", redis_url, *options)
    else:
        process = exporter(*options, REDIS_URL=redis_url)
    line = process.line()
    url = re.search(r"http://127\.0\.0\.1:\d+/metrics", line)
    assert url is not None, line
    assert f"{queue_name}, {second}" in line
    with Queue[int](queue_name, redis_url) as queue:
        queue.publish_many([1, 2, 3])
        found = scrape(url[0])
    assert of(found, "messages", queue=queue_name, state="ready") == 3
    assert of(found, "up", queue=second) == 1
    code, said = process.end(number)
    assert code == 0
    # The tests' servers have no append-only file, which is told of.
    assert [line for line in said.splitlines() if "may lose messages" not in line] == []


@pytest.mark.slow
def test_the_exporter_outlives_its_redis(
    exporter: Callable[..., Exporter], make_server: MakeServer
) -> None:
    server = make_server(tcp=True)
    process = exporter(
        "--redis", server.url, "--queue", "orders", "--port", "0", "--timeout", "0.5"
    )
    url = process.line().split()[-1]
    assert of(scrape(url), "up", queue="orders") == 1
    server.stop()
    until(lambda: of(scrape(url), "up", queue="orders") == 0)
    make_server(tcp=True, port=server.port)
    until(lambda: of(scrape(url), "up", queue="orders") == 1)
    code, said = process.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in said


def test_wrong_options_are_told_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    url = "redis://user:hunter2@127.0.0.1:port/0"
    for options, word in (
        (["--queue", "orders"], "REDIS_URL"),
        (["--redis", "redis://127.0.0.1:1/0"], "--queue"),
        (["--redis", url, "--queue", "orders"], "redis"),
        (["--redis", "redis://127.0.0.1:1/0", "--queue", "no such name"], "name"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(options)
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert word in said
        assert "hunter2" not in said


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str], redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--redis", redis_url, "--queue", "orders", "--port", port]) == 1
    assert capsys.readouterr().err.startswith(f"cannot listen on 127.0.0.1:{port}:")
