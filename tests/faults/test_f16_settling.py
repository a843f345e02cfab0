"""F16: a verdict that was recorded while the loss of its lease was still on its way here.

Nobody claims anything in between, so nobody begins a new session that would send it: `settle()`
itself must, and must not wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis

from tests.faults.actors import eventually
from tests.faults.proxy import Proxy
from typed_rmq import LeaseLost, Queue
from typed_rmq.scripts import CYCLE

pytestmark = pytest.mark.servers("valkey")

RunAsync = Callable[[Coroutine[Any, Any, object]], object]


def _reap(client: redis.Redis, name: str, url: str) -> None:
    """Another consumer takes over what the only session there holds."""
    [session] = client.zrange(f"trmq:{{{name}}}:sessions", 0, -1)
    client.zadd(f"trmq:{{{name}}}:sessions", {session: 1})
    with Queue[int](name, url, dedup=None, lease=1) as other:
        for _ in range(2):
            message = other.receive(timeout=10)
            assert message is not None
            message.ack()
            message.settle()


def _nothing_is_left(name: str, url: str) -> None:
    with Queue[int](name, url) as other:
        stats = other.stats()
        assert (stats.completed, stats.stale, stats.in_flight, stats.consumers) == (2, 2, 0, 0)


def test_f16_a_settle_whose_session_was_reaped_meanwhile_says_so(
    proxy: Proxy, redis_url: str, client: redis.Redis, queue_name: str
) -> None:
    with Queue[int](queue_name, proxy.url, dedup=None) as queue:
        queue.publish_many([1, 2])
        one, two = queue.receive(timeout=5), queue.receive(timeout=5)
        assert one is not None
        assert two is not None
        _reap(client, queue_name, redis_url)
        sent = proxy.count(CYCLE.sha)
        proxy.slow = 0.3
        one.ack()
        eventually(lambda: proxy.count(CYCLE.sha) > sent)  # by the keeper; the answer is not here
        two.ack()
        with pytest.raises(LeaseLost):
            two.settle()
        with pytest.raises(LeaseLost):
            one.settle()
    _nothing_is_left(queue_name, redis_url)


def test_f16_an_asettle_whose_session_was_reaped_meanwhile_says_so(
    proxy: Proxy, redis_url: str, client: redis.Redis, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, proxy.url, dedup=None) as queue:
            await queue.apublish_many([1, 2])
            one, two = await queue.areceive(timeout=5), await queue.areceive(timeout=5)
            assert one is not None
            assert two is not None
            await asyncio.to_thread(_reap, client, queue_name, redis_url)
            sent = proxy.count(CYCLE.sha)
            proxy.slow = 0.3
            one.ack()
            while proxy.count(CYCLE.sha) == sent:
                await asyncio.sleep(0.01)
            two.ack()
            with pytest.raises(LeaseLost):
                await two.asettle()
            with pytest.raises(LeaseLost):
                await one.asettle()

    run_async(main())
    _nothing_is_left(queue_name, redis_url)


def test_f16_a_settle_after_its_loop_was_closed_does_not_wait_for_ever(
    redis_url: str, queue_name: str
) -> None:
    with Queue[int](queue_name, redis_url, dedup=None) as queue:
        queue.publish(1)
        session = queue.consume(stop_on_signals=False).sync_session()
        message = session.take()
        assert message is not None
        session.close()
        message.ack()
        with pytest.raises(LeaseLost):
            message.settle()
        assert queue.stats().in_flight == 1, "it comes back when the lease ends"
