"""F2: Redis itself is killed with -9 during a claim, and comes back with its append-only file."""

from __future__ import annotations

import contextlib
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeServer
from tests.faults.proxy import Proxy
from tests.servers import RunningServer
from typed_rmq import Queue
from typed_rmq.scripts import CYCLE, ENQUEUE

RunAsync = Callable[[Coroutine[Any, Any, object]], object]

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class Mortal:
    """A server with a file that can be killed and started again at the same place."""

    def __init__(self, make: MakeServer, kind: str, folder: Path) -> None:
        self._make = make
        self._kind = kind
        self._folder = folder
        self.server: RunningServer = make(kind, *DURABLE, folder=folder, tcp=True)
        self.port = self.server.port
        self._timers: list[threading.Timer] = []
        self.deaths = 0

    def die(self, back_in: float = 0.15) -> None:
        self.deaths += 1
        self.server.signal(signal.SIGKILL)
        timer = threading.Timer(back_in, self.rise)
        self._timers.append(timer)
        timer.start()

    def rise(self, *options: str) -> None:
        self.server.stop()
        self.server = self._make(
            self._kind, *DURABLE, *options, folder=self._folder, port=self.port
        )

    def settle(self) -> None:
        for timer in self._timers:
            timer.join()


@pytest.fixture
def mortal(make_server: MakeServer, server_kind: str) -> Iterator[Mortal]:
    with tempfile.TemporaryDirectory(prefix="trmq-", ignore_cleanup_errors=True) as folder:
        one = Mortal(make_server, server_kind, Path(folder))
        yield one
        one.settle()
        one.server.stop()


@pytest.fixture
def way(mortal: Mortal) -> Iterator[Proxy]:
    assert mortal.port is not None
    with Proxy(mortal.port) as proxy:
        yield proxy


@pytest.mark.parametrize("when", ["before the claim", "after the claim", "at the acks"])
def test_f2_a_consumer_finds_its_batch_after_redis_was_killed(
    mortal: Mortal, way: Proxy, when: str
) -> None:
    with Queue[int]("q", way.url, dedup=None) as queue:
        queue.publish_many(range(6))
        if when == "before the claim":
            mortal.die()
        elif when == "after the claim":
            way.lose_reply(CYCLE.sha, hook=mortal.die)
        seen = []
        for msg in queue.consume(prefetch=3, until_empty=True):
            assert msg.attempt == 1
            seen.append(msg.payload)
            if when == "at the acks" and len(seen) == 2:
                way.lose_reply(CYCLE.sha, hook=mortal.die)
        mortal.settle()
        assert mortal.deaths == 1
        assert seen == list(range(6))
        stats = queue.stats()
        assert (stats.completed, stats.failed, stats.stale, stats.in_flight) == (6, 0, 0, 0)
        assert (stats.released, stats.ready) == (0, 0)


@pytest.mark.servers("valkey")
def test_f2_an_async_consumer_finds_its_batch_after_redis_was_killed(
    mortal: Mortal, way: Proxy, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int]("q", way.url, dedup=None) as queue:
            await queue.apublish_many(range(6))
            way.lose_reply(CYCLE.sha, hook=mortal.die)
            seen = []
            async for msg in queue.consume(prefetch=3, until_empty=True):
                assert msg.attempt == 1
                seen.append(msg.payload)
            assert seen == list(range(6))
            stats = await queue.astats()
            assert (stats.completed, stats.failed, stats.stale, stats.in_flight) == (6, 0, 0, 0)

    run_async(main())


@pytest.mark.servers("valkey")
def test_f2_a_publish_whose_redis_was_killed_is_stored_once(mortal: Mortal, way: Proxy) -> None:
    with Queue[int]("q", way.url, dedup=None) as queue:
        queue.publish(0)
        for number in range(1, 3):
            way.lose_reply(ENQUEUE.sha, hook=mortal.die)
            queue.publish(number)
            mortal.settle()
        assert mortal.deaths == 2
        assert [each.payload for each in queue.peek()] == [0, 1, 2]
        assert queue.stats().published == 3


@pytest.mark.servers("valkey")
def test_f2_an_idle_consumer_survives_a_restart(mortal: Mortal, way: Proxy) -> None:
    with (
        Queue[int]("q", way.url, dedup=None) as queue,
        Queue[int]("q", way.url, dedup=None) as publisher,
    ):
        consumer = queue.consume(max_messages=1)
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.extend(m.payload for m in consumer))
        thread.start()
        while publisher.stats().consumers == 0:
            pass
        mortal.die()
        mortal.settle()
        publisher.publish(7)
        thread.join(20)
        assert seen == [7]


@pytest.mark.servers("valkey")
def test_f4_a_server_that_is_still_loading_is_waited_for(mortal: Mortal) -> None:
    with Queue[int]("q", mortal.server.url, dedup=None) as queue:
        queue.publish(0)
        with mortal.server.client() as client:
            pipeline = client.pipeline(transaction=False)
            for number in range(6000):
                pipeline.set(f"filler:{number}", "x")
            pipeline.execute()
        mortal.server.stop()
        # 200 us a command: it says LOADING for a second.
        slowly = ("--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024")
        starter = threading.Thread(target=mortal.rise, args=slowly)
        starter.start()
        assert mortal.port is not None
        answer, deadline = b"", time.monotonic() + 10
        while b"LOADING" not in answer and time.monotonic() < deadline:
            # A plain socket: while it loads, each round trip takes long.
            where = ("127.0.0.1", mortal.port)
            with contextlib.suppress(OSError), socket.create_connection(where, 5) as plain:
                plain.sendall(b"GET filler:1\r\n")
                answer = plain.recv(100)
        assert b"LOADING" in answer
        queue.publish(1)
        starter.join()
        assert [msg.payload for msg in queue.consume(until_empty=True)] == [0, 1]
        assert queue.stats().published == 2
