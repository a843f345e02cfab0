"""F25: a storm of retries keeps to its budget, spreads out, and has one operation number."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.faults.proxy import Proxy
from typed_rmq import Connection, Observer, Queue, QueueUnavailable
from typed_rmq.events import Unavailable
from typed_rmq.scripts import CYCLE, ENQUEUE

pytestmark = pytest.mark.servers("valkey")

RunAsync = Callable[[Coroutine[Any, Any, object]], object]


class Told(Observer):
    def __init__(self) -> None:
        self.events: list[Unavailable] = []

    def unavailable(self, event: Unavailable) -> None:
        self.events.append(event)


def _calls(proxy: Proxy, sha: bytes) -> list[bytes]:
    return [request for request in proxy.requests if sha in request]


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("fault", ["lost request", "lost reply"])
def test_f25_one_publish_that_is_never_answered(
    proxy: Proxy,
    redis_url: str,
    queue_name: str,
    run_async: RunAsync,
    mode: str,
    fault: str,
) -> None:
    told = Told()
    connection = Connection(proxy.url, retry_budget=0.6)
    queue = Queue[int](queue_name, connection, dedup=None, observers=[told])

    async def apublish() -> None:
        try:
            await queue.apublish(1)
        finally:
            await queue.aclose()
            await connection.aclose()

    (proxy.lose_request if fault == "lost request" else proxy.lose_reply)(ENQUEUE.sha, 10_000)
    started = time.monotonic()
    with pytest.raises(QueueUnavailable, match=r"0\.6 s") as caught:
        queue.publish(1) if mode == "sync" else run_async(apublish())
    took = time.monotonic() - started
    assert 0.3 < took < 2
    assert caught.value.queue == queue_name
    calls = _calls(proxy, ENQUEUE.sha)
    # With full jitter and a doubling delay, 0.6 s are a handful of tries, not thousands.
    assert 3 <= len(calls) < 60
    assert len(set(calls)) == 1, "the same call, with the same operation number"
    assert len(told.events) == 1
    queue.close()
    connection.close()
    with Queue[int](queue_name, redis_url) as look:
        # However often it was sent, it was done once or not at all.
        assert look.stats().published == (0 if fault == "lost request" else 1)


def test_f25_after_the_storm_the_queue_works_again(
    proxy: Proxy, redis_url: str, queue_name: str
) -> None:
    with Connection(proxy.url, retry_budget=0.3) as connection:
        queue = Queue[int](queue_name, connection, dedup=None)
        queue.publish(0)
        proxy.lose_reply(ENQUEUE.sha, 10_000)
        with pytest.raises(QueueUnavailable):
            queue.publish(1)
        proxy.heal()
        receipt = queue.publish(2)
        found = {each.payload: each.id for each in queue.peek()}
        # The call that was given up was done, once; its number is not used for another one.
        assert list(found) == [0, 1, 2]
        assert found[2] == receipt.id
        queue.close()


def test_f25_a_server_that_is_away_for_a_while_costs_nothing_but_time(
    proxy: Proxy, queue_name: str
) -> None:
    with Queue[int](queue_name, proxy.url, dedup=None) as queue:
        queue.publish(0)
        proxy.refusing = True
        proxy.cut()
        timer = threading.Timer(0.7, setattr, (proxy, "refusing", False))
        timer.start()
        started = time.monotonic()
        queue.publish_many(range(1, 10))
        timer.join()
        assert 0.5 < time.monotonic() - started < 5
        assert [each.payload for each in queue.peek(20)] == list(range(10))


def test_f25_many_threads_in_one_outage_all_get_through_once(
    proxy: Proxy, redis_url: str, queue_name: str
) -> None:
    with Queue[int](queue_name, proxy.url, dedup=None) as queue:
        threads = [threading.Thread(target=queue.publish, args=(n,)) for n in range(12)]
        proxy.lose_request(ENQUEUE.sha, 15)
        proxy.lose_reply(ENQUEUE.sha, 15)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(each.payload or 0 for each in queue.peek(100)) == list(range(12))
        # Every call went out again under the number that it had, whoever sent it.
        calls = _calls(proxy, ENQUEUE.sha)
        assert len(calls) == len(set(calls)) + 30
        assert len(set(calls)) <= 12


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_f25_a_loop_that_gets_no_answer_ends_with_the_error_within_its_budget(
    proxy: Proxy, redis_url: str, queue_name: str, run_async: RunAsync, mode: str
) -> None:
    connection = Connection(proxy.url, retry_budget=0.5)
    queue = Queue[int](queue_name, connection, dedup=None)

    async def consume() -> None:
        try:
            async for _ in queue:
                raise AssertionError("nothing was published")
        finally:
            proxy.heal()
            await queue.aclose()
            await connection.aclose()

    proxy.lose_reply(CYCLE.sha, 10_000)
    started = time.monotonic()
    with pytest.raises(QueueUnavailable):
        if mode == "sync":
            for _ in queue:
                raise AssertionError("nothing was published")
        else:
            run_async(consume())
    assert time.monotonic() - started < 5
    calls = _calls(proxy, CYCLE.sha)
    assert len(calls) < 60
    proxy.heal()
    queue.close()
    connection.close()
    with Queue[int](queue_name, redis_url) as look:
        assert look.stats().in_flight == 0
