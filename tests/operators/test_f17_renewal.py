"""F17, F19: a lease that cannot be renewed is known to be lost before anybody takes over."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.conftest import MakeServer
from typed_rmq import Queue
from typed_rmq.keys import QueueKeys

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]


def test_f17_where_renewal_fails_lease_lost_is_set_before_the_deadline(
    make_server: MakeServer,
) -> None:
    server = make_server("valkey", tcp=True)
    keys = QueueKeys("renewed")
    with Queue[int]("renewed", server.url, lease=2.0) as queue, server.client() as client:
        queue.publish_many([1, 2, 3])
        loop = queue.consume(prefetch=2, idle_timeout=1)
        with loop:
            session = loop.sync_session()
            message = session.take()
            assert message is not None
            assert not message.lease_lost
            seconds, micro = client.time()
            ahead = seconds + micro / 1e6 - time.monotonic()
            server.signal(signal.SIGSTOP)
            try:
                deadline = time.monotonic() + 30
                while not message.lease_lost:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                believed = session.core.lease_until
                # What was fetched ahead is not started any more.
                assert session.core.take(time.monotonic()) is None
            finally:
                server.signal(signal.SIGCONT)
            [(_, score)] = client.zrange(keys.sessions, 0, -1, withscores=True)
            # A renewal that left before the stop may be answered after it.
            assert believed + ahead <= score / 1000 + 0.05


def test_f19_a_handler_that_holds_the_event_loop_past_the_lease_has_no_verdict(
    redis_url: str, queue_name: str, run_async: RunAsync, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        other = Queue[int](queue_name, redis_url, lease=1.0)
        async with Queue[int](queue_name, redis_url, lease=1.0) as queue:
            await queue.apublish(1)
            async for msg in queue.consume(max_messages=1):
                with msg:
                    # Nothing of asyncio can renew meanwhile; somebody else takes the message.
                    theirs = other.receive(timeout=20)
                    assert theirs is not None
                    assert theirs.id == msg.id
                    assert msg.lease_lost
                    theirs.ack()
                    theirs.settle()
        other.close()

    run_async(run())
    with Queue[int](queue_name, redis_url) as queue:
        stats = queue.stats()
        assert (stats.completed, stats.stale, stats.in_flight) == (1, 1, 0)
        assert queue.audit().clean
    assert "after its lease was lost" in caplog.text
