"""``queues()`` and ``aqueues()``: which queues a Redis holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.conftest import MakeServer
from tests.servers import RunningServer, free_port
from typed_rmq import ConfigError, Connection, Queue, QueueUnavailable, aqueues, queues

Ask = Callable[..., list[str]]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """``queues``, in either form, called with anything but a client."""
    return queues if request.param == "sync" else lambda *args: asyncio.run(aqueues(*args))


def test_every_queue_is_listed_once_and_nothing_else(
    ask: Ask, client: redis.Redis, redis_url: str
) -> None:
    assert ask(redis_url) == []
    for name in ("b", "a:1", "a.2_x-y"):
        with Queue[int](name, redis_url) as queue:
            queue.publish_many(range(3))
    with Queue[int]("paused", redis_url) as queue:
        queue.pause()
    client.set("trmq:no-braces:stats", "")
    client.set("trmq:{}:stats", "")
    client.set("trmq:{a b}:stats", "")
    client.set(b"trmq:{\xff}:stats", "")
    client.set("trmq:{other}:stats:of-another-kind", "")
    client.set("x:trmq:{c}:stats", "")
    assert ask(redis_url) == ["a.2_x-y", "a:1", "b", "paused"]
    client.delete("x:trmq:{c}:stats")


def test_a_queue_that_only_has_a_consumer_is_listed(
    ask: Ask, client: redis.Redis, redis_url: str
) -> None:
    client.zadd("trmq:{waiting}:sessions", {"one": 1.0})
    assert ask(redis_url) == ["waiting"]


def test_among_many_keys_all_are_found(ask: Ask, client: redis.Redis, redis_url: str) -> None:
    many = {f"trmq:{{q}}:dedup:{number}": b"1" for number in range(4000)}
    many |= {f"trmq:{{q{number}}}:stats": b"1" for number in range(1500)}
    client.mset(many)
    assert len(ask(redis_url)) == 1500


def test_a_connection_and_redis_url_are_taken(
    ask: Ask, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Connection(redis_url) as connection:
        Queue[int]("shared", connection).publish(1)
        assert ask(connection) == ["shared"]
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert ask() == ["shared"]


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"protocol": 3}])
def test_a_client_is_used_and_stays_open(options: dict[str, Any], redis_url: str) -> None:
    with Queue[int]("mine", redis_url) as queue:
        queue.publish(1)
    with redis.Redis.from_url(redis_url, **options) as mine:
        mine.set(b"trmq:{\xff}:stats", "")
        assert queues(mine) == ["mine"]
        assert mine.ping()
        with pytest.raises(ConfigError, match=r"use queues\(\)"):
            asyncio.run(aqueues(mine))

    async def ask_async() -> list[str]:
        async with redis.asyncio.Redis.from_url(redis_url, **options) as mine:
            found = await aqueues(mine)
            assert await mine.ping()
            with pytest.raises(ConfigError, match=r"use aqueues\(\)"):
                queues(mine)
            return found

    assert asyncio.run(ask_async()) == ["mine"]


def test_a_server_that_is_away_is_told_after_the_budget(ask: Ask) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    with (
        Connection(url, retry_budget=0.3) as connection,
        pytest.raises(QueueUnavailable, match=r"within 0\.3 s") as caught,
    ):
        ask(connection)
    assert "secret" not in str(caught.value)


def test_a_user_without_the_right_is_told_which(ask: Ask, make_server: MakeServer) -> None:
    server = make_server(tcp=True)
    server.command("ACL", "SETUSER", "shop", "reset", "on", ">pw", "~*", "+@all", "-scan")
    with pytest.raises(QueueUnavailable, match="scan"):
        ask(server.url.replace("redis://", "redis://shop:pw@"))


@pytest.fixture
def cluster(make_server: MakeServer) -> tuple[RunningServer, RunningServer]:
    """Two nodes, each with half of the slots."""

    def port() -> int:
        while (free := free_port()) > 55_000:  # the cluster's bus is 10,000 above
            pass
        return free

    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
    one, two = (make_server("valkey", *options, port=port()) for _ in range(2))
    one.command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
    two.command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
    two.command("CLUSTER", "SET-CONFIG-EPOCH", 2)
    one.command("CLUSTER", "MEET", "127.0.0.1", two.port or 0)
    deadline = time.monotonic() + 30
    while any(
        "cluster_state:ok" not in str(node.command("CLUSTER", "INFO")) for node in (one, two)
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return one, two


@pytest.mark.slow
def test_in_a_cluster_every_node_is_asked(
    cluster: tuple[RunningServer, RunningServer],
    run_async: Callable[[Coroutine[Any, Any, list[str]]], list[str]],
) -> None:
    names = [f"q{number}" for number in range(8)]
    with redis.RedisCluster.from_url(cluster[0].url) as client:
        for name in names:
            Queue[int](name, client).publish(1)
        assert queues(client) == names

    async def ask_async() -> list[str]:
        async with redis.asyncio.RedisCluster.from_url(cluster[1].url) as client:
            return await aqueues(client)

    assert run_async(ask_async()) == names
    assert {node.command("DBSIZE") == 0 for node in cluster} == {False}
