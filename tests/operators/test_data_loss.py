"""A publisher notices that Redis has lost what it had confirmed, once, and says how much."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis

from tests.conftest import MakeServer
from typed_rmq import ConfigError, DataLossDetected, Observer, Queue
from typed_rmq.events import DataLoss
from typed_rmq.keys import QueueKeys

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]


class Losses(Observer):
    def __init__(self) -> None:
        self.lost: list[int] = []

    def data_loss(self, event: DataLoss) -> None:
        self.lost.append(event.lost)


def test_a_server_that_comes_back_empty_is_told_of_once(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server("valkey", tcp=True)
    losses = Losses()
    with Queue[int]("lossy", server.url, observers=[losses]) as queue:
        queue.publish_many(range(10))
        server.signal(signal.SIGKILL)
        server.stop()
        make_server("valkey", port=server.port)
        for number in range(10, 15):
            queue.publish(number)
        # Ten were confirmed, and the first publish was the first one there.
        assert losses.lost == [10]
        assert queue.stats().ready == 5
    assert "has lost 10 operations" in caplog.text


def test_a_rollback_is_raised_where_one_wants_it(
    redis_url: str, client: redis.Redis, queue_name: str, run_async: RunAsync
) -> None:
    keys = QueueKeys(queue_name)
    with Queue[int](queue_name, redis_url, on_data_loss="raise") as queue:
        queue.publish_many(range(10))
        client.hincrby(keys.stats, "published", -3)
        with pytest.raises(DataLossDetected) as raised:
            queue.publish(100)
        assert raised.value.lost == 3
        assert raised.value.queue == queue_name
        assert "with deduplication on nothing is stored twice" in str(raised.value)
        # It is stored, it is told once, and all goes on.
        assert queue.publish(100).duplicate
        assert not queue.publish(101).duplicate

        async def asynchronous() -> None:
            client.hincrby(keys.stats, "published", -2)
            with pytest.raises(DataLossDetected):
                await queue.apublish(102)
            await queue.apublish_many([103, 104])
            await queue.aclose()

        run_async(asynchronous())


def test_threads_that_publish_at_once_see_no_loss(redis_url: str, queue_name: str) -> None:
    losses = Losses()
    with Queue[int](queue_name, redis_url, observers=[losses], dedup=None) as queue:

        def publish() -> None:
            for number in range(60):
                queue.publish(number)
                queue.publish_many(range(3), batch=1)

        threads = [threading.Thread(target=publish) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert losses.lost == []
        assert queue.stats().published == 6 * 60 * 4


def test_another_word_is_refused(redis_url: str, queue_name: str) -> None:
    with pytest.raises(ConfigError, match="on_data_loss"):
        Queue[int](queue_name, redis_url, on_data_loss="shout")  # type: ignore[arg-type]
