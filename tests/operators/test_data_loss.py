"""A publisher notices that Redis has lost what it had confirmed, once, and says how much."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis

from tests.conftest import MakeServer
from typed_rmq import ConfigError, DataLossDetected, Observer, Queue, QueueFull
from typed_rmq.commands import PublishReply, Told
from typed_rmq.events import DataLoss
from typed_rmq.keys import QueueKeys
from typed_rmq.lanes import Batch, Lane, Mark, missing

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


def wipe(client: redis.Redis, name: str) -> None:
    """As FLUSHALL, the restart of a server without a file, or the promotion of an empty replica."""
    client.delete(*every_key(client, name))


def every_key(client: redis.Redis, name: str) -> list[bytes]:
    return list(client.scan_iter(match=f"trmq:[{{]{name}[}}]:*", count=1000))


def snapshot(client: redis.Redis, name: str) -> dict[bytes, tuple[bytes, int]]:
    return {key: (client.dump(key), max(0, client.pttl(key))) for key in every_key(client, name)}


def restore(client: redis.Redis, name: str, saved: dict[bytes, tuple[bytes, int]]) -> None:
    wipe(client, name)
    for key, (dump, ttl) in saved.items():
        client.restore(key, ttl, dump)


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "delayed": ({}, {"delay": 3600}),
    "bounded": ({"max_length": 1000}, {}),
}
"""Options of the queue, and of the publish: they take both scripts that store messages."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("by", ["sync", "async"])
def test_a_wiped_queue_is_told_of_whatever_others_have_published_since(
    redis_url: str,
    client: redis.Redis,
    queue_name: str,
    run_async: RunAsync,
    way: str,
    by: str,
) -> None:
    of_queue, of_publish = WAYS[way]
    losses = Losses()

    async def asynchronous() -> None:
        async with Queue[int](queue_name, redis_url, observers=[losses], **of_queue) as queue:
            for number in range(5):
                await queue.apublish(number, **of_publish)
            await asyncio.to_thread(wipe, client, queue_name)
            await others.apublish_many(range(100, 150))
            await others.aclose()
            for number in range(5, 8):
                await queue.apublish(number, **of_publish)

    with Queue[int](queue_name, redis_url) as others:
        if by == "async":
            run_async(asynchronous())
        else:
            with Queue[int](queue_name, redis_url, observers=[losses], **of_queue) as queue:
                for number in range(5):
                    queue.publish(number, **of_publish)
                wipe(client, queue_name)
                others.publish_many(range(100, 150))
                for number in range(5, 8):
                    queue.publish(number, **of_publish)
        assert losses.lost == [5]
        assert others.audit().clean


@pytest.mark.parametrize("way", WAYS)
def test_a_restored_backup_without_this_publisher_is_told_of(
    redis_url: str, client: redis.Redis, queue_name: str, way: str
) -> None:
    """The queue goes back to before this publisher came; others have made up for the number."""
    of_queue, of_publish = WAYS[way]
    losses = Losses()
    with (
        Queue[int](queue_name, redis_url) as others,
        Queue[int](queue_name, redis_url, observers=[losses], **of_queue) as queue,
    ):
        others.publish(1)
        saved = snapshot(client, queue_name)
        for number in range(10, 15):
            queue.publish(number, **of_publish)
        restore(client, queue_name, saved)
        others.publish_many(range(100, 150))
        for number in range(20, 25):
            queue.publish(number, **of_publish)
        assert losses.lost == [5]


@pytest.mark.parametrize("way", ["delayed", "bounded"])
def test_fewer_messages_than_before_are_told_of_by_every_way(
    redis_url: str, client: redis.Redis, queue_name: str, way: str
) -> None:
    of_queue, of_publish = WAYS[way]
    losses = Losses()
    with Queue[int](queue_name, redis_url, observers=[losses], **of_queue) as queue:
        for number in range(10):
            queue.publish(number, **of_publish)
        client.hincrby(QueueKeys(queue_name).stats, "published", -3)
        assert queue.publish(1, **of_publish).duplicate
        assert losses.lost == []
        for number in range(10, 13):
            queue.publish(number, **of_publish)
        assert losses.lost == [3]


def test_many_lanes_tell_of_one_loss_once(
    redis_url: str, client: redis.Redis, queue_name: str
) -> None:
    losses = Losses()
    with Queue[int](queue_name, redis_url, observers=[losses], dedup=None) as queue:
        together = threading.Barrier(6)

        def publish() -> None:
            for number in range(20):
                together.wait()
                queue.publish(number)

        def in_threads() -> None:
            threads = [threading.Thread(target=publish) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        in_threads()
        wipe(client, queue_name)
        in_threads()
        assert losses.lost == [120]


def test_a_lane_that_has_lived_its_hour_is_no_loss() -> None:
    """By Redis's clock: it is not the client's business how long it slept."""
    lane, mark = Lane(), Mark()

    def told(n: int, seconds: int, total: int, *, epoch: bytes = b"7") -> int:
        nonlocal mark
        batch = Batch([b"x"], [b""], [], mark, mark.highest, lane)
        reply = PublishReply("new", "", 0, 0, total, Told(epoch, seconds, n))
        lost, mark = missing(mark, batch, reply)
        return lost

    assert told(1, 1_000, 1) == 0
    assert told(0, 1_600, 5) == 0
    assert told(9, 1_600 + 3_600, 9) == 0
    assert told(12, 1_600 + 7_199, 20) == 3
    # Told once; and again only when it is lost again.
    assert told(0, 1_600 + 7_200, 30) == 0
    assert told(15, 1_600 + 7_201, 40) == 3
    assert told(16, 99_999, 50, epoch=b"8") == 40


def test_a_full_queue_says_so_and_what_is_lost_is_an_event(
    redis_url: str, client: redis.Redis, queue_name: str
) -> None:
    losses = Losses()
    keys = QueueKeys(queue_name)
    with Queue[int](
        queue_name, redis_url, max_length=4, observers=[losses], on_data_loss="raise"
    ) as queue:
        for number in range(4):
            queue.publish(number)
        [lane] = client.keys(keys.prefix.replace(b"{", b"[{]") + b"lane:*")
        client.set(lane, 2)
        with pytest.raises(QueueFull):
            queue.publish(5)
        assert losses.lost == [2]


def test_another_word_is_refused(redis_url: str, queue_name: str) -> None:
    with pytest.raises(ConfigError, match="on_data_loss"):
        Queue[int](queue_name, redis_url, on_data_loss="shout")  # type: ignore[arg-type]  # wrong on purpose
