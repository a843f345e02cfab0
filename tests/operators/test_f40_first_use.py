"""F40: a server that may lose messages is told of loudly, once, at the first use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis

from tests.conftest import MakeServer
from typed_rmq import Connection, Queue

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]

RISKY = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
SAFE = ("--appendonly", "yes")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "may lose messages" in one.getMessage()]


@pytest.mark.parametrize("kind", ["sync", "async", "loop", "client"])
def test_f40_an_evicting_server_without_an_aof_is_told_once(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture, run_async: RunAsync, kind: str
) -> None:
    server = make_server("valkey", *RISKY)
    if kind == "client":
        with server.client() as client:
            Queue[int]("told", client).publish(1)
            Queue[int]("told", client).publish(2)
    elif kind == "sync":
        with Queue[int]("told", server.url) as queue:
            queue.publish_many([1, 2, 3])
            assert queue.stats().ready == 3
    elif kind == "loop":
        with Queue[int]("told", server.url) as queue:
            assert list(queue.consume(until_empty=True)) == []
    else:

        async def asynchronous() -> None:
            async with Queue[int]("told", server.url) as queue:
                await queue.apublish(1)
                await queue.apublish(2)

        run_async(asynchronous())
    with Queue[int]("another", server.url) as queue:
        queue.publish(1)
    [text] = told(caplog)
    assert "allkeys-lru" in text
    assert "append-only" in text
    assert "set appendonly yes" in text
    [record] = [one for one in caplog.records if "may lose" in one.getMessage()]
    assert (record.name, record.levelno) == ("typed_rmq", logging.WARNING)


def test_f40_a_safe_server_is_not_told_of(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    with Queue[int]("quiet", make_server("valkey", *SAFE).url) as queue:
        queue.publish(1)
    assert told(caplog) == []


def test_f40_without_the_right_to_ask_all_works(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server("redis7", *RISKY, tcp=True)
    server.command("ACL", "SETUSER", "shop", "on", ">secret", "~trmq:*", "+@all", "-info")
    url = server.url.replace("redis://", "redis://shop:secret@")
    with Connection(url, retry_budget=5) as connection:
        queue = Queue[int]("told", connection)
        assert not queue.publish(1).duplicate
        assert [msg.payload for msg in queue.consume(until_empty=True)] == [1]
    assert told(caplog) == []


def test_f40_costs_one_question_for_each_connection(make_server: MakeServer) -> None:
    server = make_server("valkey", *SAFE)
    with Connection(server.url) as connection:
        for number in range(20):
            Queue[int](f"many-{number}", connection).publish(number)
    with server.client() as client:
        stats = client.info("commandstats")
        # One is that of this test, and one of the look whether the server is up.
        assert isinstance(stats, dict)
        assert stats["cmdstat_info"]["calls"] <= 3
    assert isinstance(redis.Redis, type)
