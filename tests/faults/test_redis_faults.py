"""What goes wrong in Redis or on the way: F1, F3, F4, F7, F8, F12."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis

from tests.conftest import MakeServer
from tests.faults.actors import eventually
from tests.faults.proxy import Proxy
from tests.servers import RunningServer
from typed_rmq import Connection, Queue, QueueCorrupt, QueueFull, QueueUnavailable, Retry
from typed_rmq.scripts import CYCLE, DEAD_PURGE, ENQUEUE, PURGE, REDRIVE

RunAsync = Callable[[Coroutine[Any, Any, object]], object]

# ------------------------------------------------------------------------------------------ F1


def _evals(client: redis.Redis) -> int:
    stats = client.info("commandstats")
    assert isinstance(stats, dict)
    return int(stats.get("cmdstat_eval", {}).get("calls", 0))


def test_f1_a_script_flush_between_calls_costs_one_eval_each(
    client: redis.Redis, numbers: Queue[int]
) -> None:
    numbers.publish(0)
    client.config_resetstat()
    for number in range(1, 4):
        client.script_flush()
        numbers.publish(number)
        assert _evals(client) == number
    numbers.publish(4)
    assert _evals(client) == 3
    seen = []
    for msg in numbers.consume(prefetch=1, until_empty=True):
        client.script_flush()
        seen.append(msg.payload)
    assert seen == list(range(5))
    stats = numbers.stats()
    assert (stats.published, stats.completed, stats.stale, stats.in_flight) == (5, 5, 0, 0)


def test_f1_every_call_survives_a_script_flush(client: redis.Redis, numbers: Queue[int]) -> None:
    def flushed(call: Callable[[], Any]) -> Any:
        client.script_flush()
        return call()

    flushed(lambda: numbers.publish_many(range(3)))
    message = flushed(lambda: numbers.receive(timeout=1))
    message.reject("no")
    flushed(message.settle)
    assert [letter.payload for letter in flushed(lambda: list(numbers.dead))] == [0]
    assert flushed(lambda: numbers.dead.redrive()) == 1
    flushed(numbers.pause)
    assert flushed(numbers.stats).paused
    flushed(numbers.resume)
    assert len(flushed(numbers.peek)) == 3
    assert flushed(numbers.purge) == 3


def test_f1_async_loops_survive_a_script_flush(
    redis_url: str, client: redis.Redis, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            for number in range(5):
                client.script_flush()
                await queue.apublish(number)
            seen = []
            async for msg in queue.consume(prefetch=1, until_empty=True):
                client.script_flush()
                seen.append(msg.payload)
            assert seen == list(range(5))
            assert (await queue.astats()).completed == 5

    run_async(main())


# ------------------------------------------------------------------------------------------ F3

LOSSES = ["request", "reply"]


def _lose(proxy: Proxy, what: str, sha: bytes, times: int = 1) -> None:
    (proxy.lose_request if what == "request" else proxy.lose_reply)(sha, times)


@pytest.mark.parametrize("what", LOSSES)
def test_f3_publish(proxy: Proxy, queue_name: str, what: str) -> None:
    with Queue[int](queue_name, proxy.url, dedup=None) as queue:
        first = queue.publish(0)
        _lose(proxy, what, ENQUEUE.sha, 2)
        second = queue.publish(1)
        _lose(proxy, what, ENQUEUE.sha)
        rest = queue.publish_many(range(2, 6))
        assert proxy.lost == 3
        receipts = [first, second, *rest]
        assert not any(receipt.duplicate for receipt in receipts)
        found = [(each.payload, each.id) for each in queue.peek()]
        assert found == [(n, receipt.id) for n, receipt in enumerate(receipts)]
        assert queue.stats().published == 6


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("what", LOSSES)
def test_f3_a_repeated_publish_is_no_duplicate_of_itself(
    proxy: Proxy, queue_name: str, what: str
) -> None:
    with Queue[int](queue_name, proxy.url) as queue:
        queue.publish(0)
        _lose(proxy, what, ENQUEUE.sha)
        assert not queue.publish(1).duplicate
        _lose(proxy, what, ENQUEUE.sha)
        assert queue.publish(1).duplicate
        stats = queue.stats()
        assert (stats.published, stats.duplicates) == (2, 1)


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("what", LOSSES)
def test_f3_full_is_answered_once(proxy: Proxy, queue_name: str, what: str) -> None:
    with Queue[int](queue_name, proxy.url, max_length=1) as queue:
        queue.publish(0)
        _lose(proxy, what, ENQUEUE.sha)
        with pytest.raises(QueueFull):
            queue.publish(1)
        assert queue.purge() == 1
        assert [each.payload for each in queue.peek()] == []
        queue.publish(2)
        assert [each.payload for each in queue.peek()] == [2]


@pytest.mark.servers("valkey", "redis6")
@pytest.mark.parametrize("what", LOSSES)
def test_f3_a_consumers_cycles(proxy: Proxy, queue_name: str, what: str) -> None:
    with Queue[int](queue_name, proxy.url, dedup=None) as queue:
        queue.publish_many(range(8))
        _lose(proxy, what, CYCLE.sha)
        seen = []
        for msg in queue.consume(prefetch=3, until_empty=True):
            _lose(proxy, what, CYCLE.sha)
            assert msg.attempt == 1
            seen.append(msg.payload)
        proxy.heal()
        assert seen == list(range(8))
        assert proxy.lost >= 4
        stats = queue.stats()
        assert (stats.completed, stats.failed, stats.released, stats.stale) == (8, 0, 0, 0)
        assert (stats.in_flight, stats.ready, stats.consumers) == (0, 0, 0)


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("what", LOSSES)
def test_f3_every_verdict(proxy: Proxy, queue_name: str, what: str) -> None:
    retry = Retry(backoff=100, jitter="none")
    with Queue[int](queue_name, proxy.url, dedup=None, retry=retry) as queue:
        queue.publish_many(range(4))
        messages = [queue.receive(timeout=5) for _ in range(4)]
        for message, verdict in zip(messages, ("ack", "retry", "reject", "release"), strict=True):
            assert message is not None
            if verdict == "reject":
                message.reject("no")
            else:
                getattr(message, verdict)()
            _lose(proxy, what, CYCLE.sha)
            message.settle()
        assert proxy.lost == 4
        stats = queue.stats()
        assert (stats.completed, stats.retried, stats.dead_lettered, stats.released) == (1, 1, 1, 1)
        assert (stats.ready, stats.delayed, stats.dead, stats.in_flight) == (1, 1, 1, 0)
        assert stats.stale == 0


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("what", LOSSES)
def test_f3_an_async_consumers_cycles(
    proxy: Proxy, queue_name: str, run_async: RunAsync, what: str
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, proxy.url, dedup=None) as queue:
            _lose(proxy, what, ENQUEUE.sha)
            await queue.apublish_many(range(8))
            seen = []
            async for msg in queue.consume(prefetch=3, until_empty=True):
                _lose(proxy, what, CYCLE.sha)
                assert msg.attempt == 1
                seen.append(msg.payload)
            proxy.heal()
            assert seen == list(range(8))
            stats = await queue.astats()
            assert (stats.completed, stats.failed, stats.stale, stats.in_flight) == (8, 0, 0, 0)
            assert (stats.released, stats.consumers) == (0, 0)

    run_async(main())


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("what", LOSSES)
def test_f3_a_consumer_that_waits(proxy: Proxy, queue_name: str, what: str) -> None:
    """The wait and the claim behind it are cut together; the message must not be orphaned."""
    with (
        Queue[int](queue_name, proxy.url, dedup=None) as queue,
        Queue[int](queue_name, proxy.url, dedup=None) as publisher,
    ):
        publisher.publish(0)
        seen = []
        for msg in queue.consume(max_messages=6, idle_timeout=5):
            seen.append(msg.payload)
            assert msg.attempt == 1
            if len(seen) < 6:
                _lose(proxy, what, b"BLPOP")
                timer = threading.Timer(0.05, publisher.publish, (len(seen),))
                timer.start()
        timer.join()
        assert seen == list(range(6))
        stats = queue.stats()
        assert (stats.completed, stats.stale, stats.in_flight) == (6, 0, 0)


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("what", LOSSES)
def test_f3_purge_redrive_and_pause(proxy: Proxy, queue_name: str, what: str) -> None:
    with Queue[int](queue_name, proxy.url, dedup=None) as queue:
        queue.publish_many(range(3))
        for msg in queue.consume(until_empty=True):
            msg.reject("no")
        assert len(queue.dead) == 3
        letters = [letter.id for letter in queue.dead]
        _lose(proxy, what, REDRIVE.sha)
        assert queue.dead.redrive(letters[0]) == 1
        _lose(proxy, what, REDRIVE.sha)
        assert queue.dead.redrive() == 2
        assert queue.stats().ready == 3
        _lose(proxy, what, PURGE.sha)
        # Were it done twice, the second one would say that there was nothing.
        assert queue.purge() == 3
        queue.publish(9)
        for msg in queue.consume(until_empty=True):
            msg.reject("no")
        _lose(proxy, what, DEAD_PURGE.sha)
        assert queue.dead.purge() == 1
        assert len(queue.dead) == 0


def test_f3_a_late_duplicate_of_a_purge_deletes_nothing(
    proxy: Proxy, client: redis.Redis, queue_name: str
) -> None:
    """The first request arrives after all, when what it would delete was confirmed later."""
    with Queue[int](queue_name, proxy.url, dedup=None) as queue:
        queue.publish(1)
        assert queue.purge() == 1
        (request,) = [one for one in proxy.requests if PURGE.sha in one]
        queue.publish(2)
        arguments = request.split(b"\r\n")[2::2]
        client.execute_command(*arguments)
        assert [each.payload for each in queue.peek()] == [2]


# ------------------------------------------------------------------------------------------ F4


@pytest.fixture
def busy(make_server: MakeServer, server_kind: str) -> RunningServer:
    """A server that says BUSY after 50 ms of one script."""
    return make_server(server_kind, "--lua-time-limit", "50", tcp=True)


def _keep_busy(server: RunningServer, seconds: float) -> threading.Thread:
    """Run an endless script; kill it after ``seconds``."""

    def run() -> None:
        with server.client() as one, server.client() as other:
            timer = threading.Timer(seconds, other.execute_command, ("SCRIPT", "KILL"))
            timer.start()
            with pytest.raises(redis.ResponseError):
                one.execute_command("EVAL", "while true do end", 0)
            timer.join()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.2)
    return thread


@pytest.mark.servers("valkey", "redis6")
def test_f4_busy_is_waited_for(busy: RunningServer) -> None:
    with Queue[int]("q", busy.url, dedup=None) as queue:
        queue.publish(0)
        thread = _keep_busy(busy, 0.5)
        started = time.monotonic()
        queue.publish(1)
        assert time.monotonic() - started > 0.2
        thread.join()
        thread = _keep_busy(busy, 0.4)
        seen = [msg.payload for msg in queue.consume(until_empty=True)]
        thread.join()
        assert seen == [0, 1]
        assert queue.stats().completed == 2


@pytest.mark.servers("valkey")
def test_f4_busy_beyond_the_budget_is_unavailable_for_every_call(
    busy: RunningServer, run_async: RunAsync
) -> None:
    with Connection(busy.url, retry_budget=0.3) as connection:
        queue = Queue[int]("q", connection, dedup=None)
        queue.publish_many(range(2))
        message = queue.receive(timeout=1)
        assert message is not None
        thread = _keep_busy(busy, 2.2)

        async def publish() -> None:
            async with Connection(busy.url, retry_budget=0.3) as other:
                await Queue[int]("q", other, dedup=None).apublish(5)

        started = time.monotonic()
        for call in (
            lambda: queue.publish(2),
            lambda: queue.receive(timeout=0),
            lambda: run_async(publish()),
        ):
            with pytest.raises(QueueUnavailable, match="BUSY"):
                call()
        message.ack()
        with pytest.raises(QueueUnavailable, match="BUSY"):
            message.settle()
        assert time.monotonic() - started < 2.0
        thread.join()
        # Nothing is lost by having given up: the verdict still waits to be sent.
        message.settle()
        eventually(lambda: queue.stats().completed == 1)
        assert queue.stats().published == 2
        queue.close()


@pytest.mark.servers("valkey")
def test_f4_a_server_that_hangs_for_a_moment(make_server: MakeServer) -> None:
    server = make_server("valkey", "--enable-debug-command", "yes", tcp=True)
    with Queue[int]("q", server.url, dedup=None) as queue, server.client() as client:
        queue.publish(0)
        thread = threading.Thread(target=client.execute_command, args=("DEBUG", "SLEEP", "0.5"))
        thread.start()
        time.sleep(0.05)
        queue.publish(1)
        thread.join()
        assert [msg.payload for msg in queue.consume(until_empty=True)] == [0, 1]
        assert queue.stats().published == 2


# ------------------------------------------------------------------------------------------ F7


@pytest.fixture
def full(client: redis.Redis) -> Iterator[Callable[[bool], None]]:
    """``full(True)`` lets the server be out of memory."""

    def switch(on: bool) -> None:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1" if on else "0")

    yield switch
    switch(False)


def test_f7_out_of_memory_refuses_publishes_and_lets_the_rest_through(
    numbers: Queue[int], full: Callable[[bool], None]
) -> None:
    numbers.publish_many(range(6))
    full(True)
    before = numbers.stats()
    with pytest.raises(QueueFull, match="memory"):
        numbers.publish(7)
    with pytest.raises(QueueFull, match="memory"):
        numbers.publish_many(range(10, 20))
    with pytest.raises(QueueFull, match="memory"):
        numbers.publish(8, delay=5)
    after = numbers.stats()
    assert (after.ready, after.delayed, after.published) == (6, 0, before.published)
    # Claims, acks, failures, rejections, and releases work.
    verdicts = iter(["ack", "retry", "reject", "release", "fail"])
    for msg in numbers.consume(max_messages=5, prefetch=2):
        verdict = next(verdicts)
        if verdict == "fail":
            with msg:
                raise ValueError
        elif verdict == "retry":
            msg.retry(delay=100)
        elif verdict == "reject":
            msg.reject("no")
        else:
            getattr(msg, verdict)()
    stats = numbers.stats()
    assert (stats.completed, stats.retried, stats.dead, stats.released) in (
        (1, 2, 1, 1),
        (1, 2, 1, 2),  # one that was fetched ahead went back, too
    )
    assert stats.in_flight == 0
    assert stats.ready + stats.delayed + stats.dead + stats.completed == 6
    full(False)
    numbers.publish(7)


def test_f7_out_of_memory_in_asyncio(
    redis_url: str, queue_name: str, run_async: RunAsync, full: Callable[[bool], None]
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            await queue.apublish_many(range(5))
            full(True)
            with pytest.raises(QueueFull):
                await queue.apublish(7)
            seen = [msg.payload async for msg in queue.consume(until_empty=True)]
            assert seen == list(range(5))
            stats = await queue.astats()
            assert (stats.completed, stats.ready, stats.in_flight) == (5, 0, 0)

    run_async(main())


def test_f7_a_refused_publish_takes_no_dedup_key(
    redis_url: str, queue_name: str, full: Callable[[bool], None]
) -> None:
    with Queue[int](queue_name, redis_url) as queue:
        queue.publish(0)
        full(True)
        with pytest.raises(QueueFull):
            queue.publish(1)
        full(False)
        assert not queue.publish(1).duplicate
        assert queue.stats().ready == 2


# ------------------------------------------------------------------------------------------ F8

KEYS = {
    "ready:high": "string",
    "ready:normal": "string",
    "ready:low": "hash",
    "suspects": "string",
    "delayed": "list",
    "sessions": "list",
    "stats": "list",
    "meta": "list",
    "bell": "string",
    "dead": "string",
    "dead:ids": "string",
}


def _spoil(client: redis.Redis, key: str, kind: str) -> None:
    client.delete(key)
    if kind == "string":
        client.set(key, "not ours")
    elif kind == "list":
        client.rpush(key, "not ours")
    else:
        client.hset(key, "not", "ours")


def _everything(client: redis.Redis, name: str) -> dict[bytes, bytes | None]:
    """All of the queue but the lanes, which say only that a call was made."""
    keys = sorted(client.keys(f"trmq:{{{name}}}:*"))
    return {key: client.dump(key) for key in keys if b":lane:" not in key}


@pytest.mark.parametrize("suffix", ["ready:normal", "delayed", "stats", "meta", "bell"])
def test_f8_publish_meets_a_key_of_the_wrong_type(
    client: redis.Redis, redis_url: str, queue_name: str, suffix: str
) -> None:
    # With deduplication, so that there is something that could be half-done.
    with Queue[int](queue_name, redis_url) as queue:
        queue.publish(1)
        key = f"trmq:{{{queue_name}}}:{suffix}"
        if suffix == "meta":
            # Whether the queue is paused matters only where the bell is not rung yet.
            client.delete(f"trmq:{{{queue_name}}}:bell")
        _spoil(client, key, KEYS[suffix])
        before = _everything(client, queue_name)
        with pytest.raises(QueueCorrupt) as caught:
            queue.publish(2, delay=1 if suffix == "delayed" else None)
        assert caught.value.queue == queue_name
        assert "Nothing was changed" in str(caught.value)
        assert _everything(client, queue_name) == before
        client.delete(key)
        assert not queue.publish(2).duplicate


@pytest.mark.parametrize("suffix", KEYS)
def test_f8_a_consumer_meets_a_key_of_the_wrong_type(
    client: redis.Redis, numbers: Queue[int], suffix: str
) -> None:
    numbers.publish_many(range(3))
    message = numbers.receive(timeout=5)
    assert message is not None
    _spoil(client, f"trmq:{{{numbers.name}}}:{suffix}", KEYS[suffix])
    before = _everything(client, numbers.name)
    message.reject("so that all keys are needed")
    with pytest.raises(QueueCorrupt):
        message.settle()
    with pytest.raises(QueueCorrupt):
        numbers.receive(timeout=0)
    assert _everything(client, numbers.name) == before
    client.delete(f"trmq:{{{numbers.name}}}:{suffix}")
    if suffix != "sessions":
        # The verdict was kept, and takes effect once the foreign key is gone.
        message.settle()
        assert numbers.stats().dead == 1


# ----------------------------------------------------------------------------------------- F12


def test_f12_too_few_replicas_is_unavailable_with_redis_words(
    client: redis.Redis, numbers: Queue[int], run_async: RunAsync, redis_url: str
) -> None:
    numbers.publish_many(range(2))
    message = numbers.receive(timeout=1)
    assert message is not None

    async def publish() -> None:
        async with Queue[int](numbers.name, redis_url, dedup=None) as queue:
            await queue.apublish(3)

    client.config_set("min-replicas-to-write", "1")
    try:
        with pytest.raises(QueueUnavailable, match="replicas"):
            numbers.publish(2)
        with pytest.raises(QueueUnavailable, match="replicas"):
            run_async(publish())
        message.ack()
        with pytest.raises(QueueUnavailable, match="replicas"):
            message.settle()
    finally:
        client.config_set("min-replicas-to-write", "0")
    message.settle()
    stats = numbers.stats()
    assert (stats.published, stats.completed, stats.ready, stats.in_flight) == (2, 1, 1, 0)


def test_f12_a_disk_that_fails_is_unavailable_with_redis_words(
    make_server: MakeServer, server_kind: str
) -> None:
    server = make_server(server_kind, tcp=True)
    with (
        Queue[int]("q", server.url, dedup=None) as queue,
        server.client() as client,
    ):
        queue.publish(0)
        client.config_set("save", "3600 1000000")
        # Snapshots fail: in the place of the file there is a folder that is not empty.
        name = str(client.config_get("dbfilename")["dbfilename"])
        (server.folder / name / "in the way").mkdir(parents=True)
        client.bgsave()
        eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        with pytest.raises(QueueUnavailable, match=r"MISCONF|snapshot|disk"):
            queue.publish(1)
        client.config_set("stop-writes-on-bgsave-error", "no")
        queue.publish(2)
        assert [each.payload for each in queue.peek()] == [0, 2]
