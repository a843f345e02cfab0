"""Where Redis is: URLs, the user's own clients, and what is wrong with it."""

from __future__ import annotations

import logging
import signal
import time
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.conformance.conftest import Keys
from tests.conformance.harness import (
    Mode,
    Order,
    Recorder,
    Rmq,
    ids,
    orders,
    timed,
)
from tests.servers import free_port
from typed_rmq import ConfigError, Connection, Queue, QueueCorrupt, QueueUnavailable, Receipt


class Client:
    """A client of the user's, of the mode's own kind."""

    def __init__(self, mode: Mode, **options: Any) -> None:
        self.mode = mode
        kind: Any = redis.Redis if mode.name == "sync" else redis.asyncio.Redis
        self.client = kind.from_url(mode.url, **options)

    def ping(self) -> bool:
        return bool(self.mode.call(self.client.ping))

    def close(self) -> None:
        self.mode.call(self.client.close if self.mode.name == "sync" else self.client.aclose)


def round_trip(rmq: Rmq) -> None:
    receipt = rmq.publish(Order(order_id=1, sku="ü"), headers={"ä": "ö"})
    assert rmq.publish(Order(order_id=1, sku="ü")) == Receipt(receipt.id, duplicate=True)
    rmq.publish_many(orders(2, 3))
    seen = []
    assert ids(rmq.consume_all(lambda msg: seen.append(msg.headers))) == [1, 2, 3]
    assert seen[0] == {"ä": "ö"}
    rmq.publish(Order(order_id=4))
    rmq.consume_all(lambda msg: msg.reject("ß"))
    (letter,) = rmq.dead_list()
    assert letter.reason == "ß"
    assert rmq.dead_redrive(letter.id) == 1
    msg = rmq.receive(timeout=0.2)
    msg.ack()
    rmq.settle(msg)
    assert rmq.stats().completed == 4


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decode_responses": True},
        {"protocol": 3},
        {"protocol": 3, "decode_responses": True},
        {"socket_timeout": 1},
        {"single_connection_client": True},
        {"encoding": "latin-1"},
    ],
)
def test_a_client_of_the_users_is_used_and_not_closed(mode: Mode, options: dict[str, Any]) -> None:
    client = Client(mode, **options)
    assert client.ping()
    rmq = mode.open(redis=client.client)
    round_trip(rmq)
    assert client.ping()
    rmq.close()
    assert client.ping(), "a queue closes no client that it has not made"
    client.close()


@timed
@pytest.mark.parametrize("timeout", [0.3, 1])
def test_a_wait_outlives_the_socket_timeout_of_the_client(mode: Mode, timeout: float) -> None:
    recorder = Recorder()
    client = Client(mode, socket_timeout=timeout)
    rmq = mode.open(redis=client.client, lease=60, observers=[recorder])
    job = rmq.later("each", max_messages=1)
    other = mode.open()
    mode.until(lambda: other.stats().consumers == 1)
    mode.sleep(timeout + 0.3)
    assert not job.done
    other.publish(Order(order_id=1))
    start = time.monotonic()
    assert ids(job.result(3)) == [1]
    assert time.monotonic() - start < 1
    assert recorder.told("unavailable") == []
    rmq.close()
    client.close()


def test_a_bounded_pool_of_the_users_is_given_its_connections_back(mode: Mode) -> None:
    client = Client(mode, max_connections=2)
    rmq = mode.open(redis=client.client)
    for number in range(10):
        rmq.publish(Order(order_id=number))
    assert len(rmq.consume_all()) == 10
    assert client.ping()
    rmq.close()
    client.close()


def test_several_queues_on_one_client(mode: Mode) -> None:
    client = Client(mode)
    first = mode.open(redis=client.client)
    second = mode.open(int, f"{mode.queue_name}-2", redis=client.client)
    first.publish(Order(order_id=1))
    second.publish(2)
    assert (ids(first.consume_all()), second.consume_all()) == ([1], [2])
    first.close()
    second.publish(3)
    assert second.consume_all() == [3]
    second.close()
    client.close()


def test_a_client_serves_only_its_own_kind_of_loop(mode: Mode) -> None:
    if mode.name == "sync":
        import asyncio

        client = redis.Redis.from_url(mode.url)
        queue = Queue[Order](mode.queue_name, client)
        with pytest.raises(ConfigError, match="sync client"):
            asyncio.run(queue.apublish(Order(order_id=1)))
        client.close()
    else:
        queue = Queue[Order](mode.queue_name, redis.asyncio.Redis.from_url(mode.url))
        with pytest.raises(ConfigError, match="asyncio client"):
            queue.publish(Order(order_id=1))


@pytest.mark.parametrize("wrong", [7, b"redis://x", object(), "http://host", "localhost:6379", ""])
def test_what_is_no_address_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        Queue[Order]("orders", wrong)


def test_redis_url_is_used_where_nothing_is_given(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", mode.url)
    rmq = mode.open(redis=None)
    rmq.publish(Order(order_id=1))
    assert ids(mode.open().consume_all()) == [1]


def test_the_database_of_the_url_is_used(mode: Mode, client: redis.Redis) -> None:
    url = mode.url.removesuffix("/0") + "/5"
    rmq = mode.open(redis=url)
    rmq.publish(Order(order_id=1))
    assert mode.open().stats().ready == 0
    assert ids(rmq.consume_all()) == [1]
    with redis.Redis.from_url(url) as five:
        five.flushdb()


# --- Redis is away


@pytest.mark.servers("valkey")  # none of them is asked
@pytest.mark.parametrize("what", ["publish", "publish_many", "stats", "purge", "pause"])
def test_f4_after_the_budget_redis_is_unavailable(
    mode: Mode, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    port = free_port()
    connection = Connection(f"redis://user:hunter2@127.0.0.1:{port}/0", retry_budget=0.3)
    rmq = mode.open(redis=connection, observers=[recorder])
    arguments: list[Any] = {
        "publish": [Order(order_id=1)],
        "publish_many": [orders(1, 2)],
    }.get(what, [])
    start = time.monotonic()
    with pytest.raises(QueueUnavailable) as caught:
        getattr(rmq, what)(*arguments)
    assert 0.2 <= time.monotonic() - start < 1.5
    error = caught.value
    assert error.queue == mode.queue_name
    said = f"{error} {error!r} {error.__cause__!r} {connection!r} {rmq.queue!r} {caplog.text}"
    assert "hunter2" not in said
    assert caplog.records[0].levelno == logging.WARNING
    assert len(recorder.told("unavailable")) == 1


def test_f42_a_wrong_password_fails_at_once(mode: Mode) -> None:
    url = mode.url.replace("redis://", "redis://nobody:hunter2@")
    rmq = mode.open(redis=url)
    start = time.monotonic()
    with pytest.raises(QueueUnavailable) as caught:
        rmq.publish(Order(order_id=1))
    assert time.monotonic() - start < 2
    assert "hunter2" not in str(caught.value)


def test_f1_scripts_that_the_server_has_forgotten_are_sent_again(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    for number in range(3):
        keys.client.script_flush()
        assert not rmq.publish(Order(order_id=number)).duplicate
        keys.client.script_flush()
        assert ids(rmq.consume_all()) == [number]
    assert rmq.stats().published == 3


def test_f3_a_connection_that_breaks_stores_nothing_twice(mode: Mode, keys: Keys) -> None:
    rmq = mode.open(dedup=None)
    for number in range(5):
        rmq.publish(Order(order_id=number))
        keys.client.client_kill_filter(_type="normal", skipme=True)
    assert ids(rmq.consume_all()) == [0, 1, 2, 3, 4]
    assert rmq.stats().published == 5


def test_a_waiting_consumer_survives_a_broken_connection(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    job = rmq.later("each", max_messages=2)
    mode.until(lambda: rmq.stats().consumers == 1)
    mode.sleep(0.05)
    keys.client.client_kill_filter(_type="normal", skipme=True)
    mode.sleep(0.05)
    rmq.publish(Order(order_id=1))
    mode.until(lambda: rmq.stats().completed == 1)
    keys.client.client_kill_filter(_type="normal", skipme=True)
    rmq.publish(Order(order_id=2))
    assert ids(job.result()) == [1, 2]
    assert (rmq.stats().completed, rmq.stats().failed, rmq.stats().stale) == (2, 0, 0)


# --- keys that are not ours


@pytest.mark.parametrize(
    "key", ["ready:normal", "delayed", "stats", "meta", "bell", "suspects", "room"]
)
def test_f8_a_key_of_the_wrong_type_is_corrupt_and_nothing_changes(
    mode: Mode, keys: Keys, key: str
) -> None:
    rmq = mode.open(max_length=10)
    keys.client.set(keys(key), "foreign")
    try:
        rmq.publish(Order(order_id=1))
    except QueueCorrupt as error:
        assert error.queue == mode.queue_name
        assert keys.all().keys() == {key}
    else:
        assert key == "room", "only publishers that wait look at it"
    assert keys.client.get(keys(key)) == b"foreign"


@pytest.mark.parametrize(
    "key", ["ready:low", "delayed", "stats", "meta", "bell", "sessions", "suspects", "dead"]
)
def test_f8_a_consumer_changes_nothing_either(mode: Mode, keys: Keys, key: str) -> None:
    rmq = mode.open()
    rmq.publish_many(orders(1, 2))
    kept = keys.client.lrange(keys("ready:normal"), 0, -1)
    keys.client.delete(keys(key))
    keys.client.set(keys(key), "foreign")
    with pytest.raises(QueueCorrupt) as caught:
        rmq.consume_all(lambda msg: msg.reject("no"), prefetch=2, stop_on_signals=False)
    assert caught.value.queue == mode.queue_name
    assert keys.client.get(keys(key)) == b"foreign"
    # Not one message is lost: it waits, or its session holds it until the lease ends.
    held = [keys.client.hvals(keys(name)) for name in keys.all() if name.startswith("inflight")]
    waiting = keys.client.lrange(keys("ready:normal"), 0, -1)
    assert sorted(waiting + [one for some in held for one in some]) == sorted(kept)
    keys.client.delete(*[keys(name) for name in keys.all()])


def test_f8_a_counter_that_is_no_number(mode: Mode, keys: Keys) -> None:
    rmq = mode.open()
    rmq.publish(Order(order_id=1))
    keys.client.hset(keys("stats"), "published", "many")
    with pytest.raises(QueueCorrupt):
        rmq.publish(Order(order_id=2))
    keys.client.hset(keys("stats"), "completed", "many")
    msg = rmq.receive()
    msg.ack()
    with pytest.raises(QueueCorrupt):
        rmq.settle(msg)
    keys.client.delete(keys("stats"))
    rmq.settle(msg)
    assert rmq.stats().completed == 1


@pytest.mark.servers("valkey")
def test_a_loop_that_loses_redis_gives_the_signals_back(mode: Mode) -> None:
    connection = Connection(f"redis://127.0.0.1:{free_port()}/0", retry_budget=0.2)
    rmq = mode.open(redis=connection)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(QueueUnavailable) as caught:
        rmq.each()
    assert caught.value.queue == mode.queue_name
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("what", ["each", "receive", "run"])
def test_closing_takes_no_longer_than_the_budget(mode: Mode, what: str) -> None:
    connection = Connection(f"redis://127.0.0.1:{free_port()}/0", retry_budget=0.2)
    rmq = mode.open(redis=connection)
    with pytest.raises(QueueUnavailable):
        getattr(rmq, what)(*([print] if what == "run" else []))
    start = time.monotonic()
    rmq.close()
    assert time.monotonic() - start < 1
