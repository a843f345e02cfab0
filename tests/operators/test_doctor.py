"""``doctor``: each thing that can be wrong with a real server is found, and said what to do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis

from tests.conftest import MakeServer
from tests.servers import RunningServer
from typed_rmq import Finding, Queue, QueueUnavailable
from typed_rmq.doctor import WORDS
from typed_rmq.findings import about_server, at_first_use
from typed_rmq.keys import QueueKeys

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]


def of(found: list[Finding], topic: str) -> Finding:
    """The worst finding of a topic."""
    order = ["ok", "info", "warning", "error"]
    return max((one for one in found if one.topic == topic), key=lambda one: order.index(one.level))


def test_a_healthy_server_and_queue_are_well(make_server: MakeServer, run_async: RunAsync) -> None:
    server = make_server("valkey", "--appendonly", "yes", "--maxmemory", "1gb")
    with Queue[int]("healthy", server.url) as queue:
        queue.publish(1)
        found = queue.doctor()
        bad = [one for one in found if one.level in ("warning", "error")]
        assert [one.topic for one in bad] == ["consumers"], bad
        assert all(one.advice for one in bad)
        assert of(found, "version").what.startswith("Valkey 9.")
        assert of(found, "persistence").what == "append-only file, appendfsync everysec"
        assert "now" not in of(found, "clock").what

        async def asynchronous() -> list[Finding]:
            found = await queue.adoctor()
            await queue.aclose()
            return found

        assert [one.topic for one in run_async(asynchronous())] == [one.topic for one in found]


def test_what_a_server_risks_is_told(make_server: MakeServer) -> None:
    server = make_server(
        "valkey", "--maxmemory", "2mb", "--maxmemory-policy", "allkeys-lru",
        "--min-replicas-to-write", "1",
    )  # fmt: skip
    with Queue[int]("risky", server.url) as queue:
        found = queue.doctor()
    assert of(found, "persistence").level == "warning"
    assert of(found, "persistence").advice == "set appendonly yes"
    assert "deletes messages" in of(found, "eviction").what
    assert of(found, "replication").level == "error"
    assert "fewer than 1" in of(found, "replication").what
    assert of(found, "memory").level in ("warning", "error", "ok")


def test_memory_without_headroom_is_told() -> None:
    info = {"redis_version": "7.0.0", "maxmemory": "1000", "used_memory": "900"}
    assert of(about_server(info, {}), "memory").level == "warning"
    assert of(about_server({**info, "used_memory": "1001"}, {}), "memory").level == "error"
    assert of(about_server({**info, "used_memory": "500"}, {}), "memory").level == "ok"


def test_f40_a_server_that_is_too_old_is_an_error() -> None:
    [found] = at_first_use({"redis_version": "6.0.16", "aof_enabled": "1"})
    assert (found.level, found.topic) == ("error", "version")
    assert at_first_use({"redis_version": "6.2.0", "aof_enabled": "1"}) == []


def test_a_failing_disk_is_told() -> None:
    info = {"redis_version": "7.0.0", "aof_enabled": "1", "aof_last_write_status": "err"}
    assert of(about_server(info, {}), "disk").level == "error"


def test_replicas_are_looked_at(make_server: MakeServer) -> None:
    master = make_server("valkey", "--repl-diskless-sync-delay", "0", tcp=True)
    replica = make_server("valkey", "--replicaof", f"127.0.0.1 {master.port}", tcp=True)
    wait_for(lambda: b"master_link_status:up" in info(replica))
    with Queue[int]("copied", master.url) as queue:
        assert of(queue.doctor(), "replication").what == "1 replicas are connected"
    with Queue[int]("copied", replica.url) as queue:
        assert "this server is a replica" in of(queue.doctor(), "replication").what


def test_a_missing_right_is_named(server: RunningServer, client: redis.Redis) -> None:
    client.execute_command(
        "ACL", "SETUSER", "half", "reset", "on", ">secret", "~trmq:*", "+@all", "-hincrby", "-info"
    )
    try:
        with Queue[int]("rights", server.url.replace("redis://", "redis://half:secret@")) as queue:
            found = queue.doctor()
        if server.kind == "redis6":
            assert of(found, "rights").level == "info"
        else:
            assert of(found, "rights").what == "this user lacks HINCRBY"
        assert "+info" in of(found, "server").advice
    finally:
        client.execute_command("ACL", "DELUSER", "half")


def test_a_foreign_key_is_named(redis_url: str, client: redis.Redis, queue_name: str) -> None:
    keys = QueueKeys(queue_name)
    for key in (keys.ready[1], keys.delayed, keys.stats, keys.dead):
        client.set(key, "foreign")
        with Queue[int](queue_name, redis_url) as queue:
            found = of(queue.doctor(), "keys")
        assert found.level == "error"
        assert key.decode() in found.what
        client.delete(key)


def test_the_state_of_the_queue_is_told(
    redis_url: str, client: redis.Redis, queue_name: str
) -> None:
    keys = QueueKeys(queue_name)
    with Queue[int](queue_name, redis_url) as queue:
        queue.publish_many([1, 2])
        message = queue.receive()
        assert message is not None
        message.reject("not wanted")
        message.settle()
        queue.pause()
        client.zadd(keys.sessions, {"abcdefghijklmnop@far-host:77": 1})
        # A message of 2001.
        first = client.lindex(keys.ready[1], 0)
        client.lset(keys.ready[1], 0, b"10990000000000" + first[14:])
        found = queue.doctor()
    assert of(found, "paused").advice == "resume() lets it go on"
    assert of(found, "dead letters").what == "1 are kept"
    assert "far-host:77" in of(found, "sessions").what
    assert of(found, "age").level == "warning"


def test_scripts_without_end_are_told() -> None:
    from typed_rmq.doctor import _cache

    assert _cache([1], b"number_of_cached_scripts:2000\r\n").level == "warning"
    assert _cache([1], b"number_of_cached_scripts:20\r\n").level == "ok"


def test_words_are_what_the_documented_rule_grants() -> None:
    assert {"EVALSHA", "BLPOP", "HSET", "LPOP", "XADD", "INCR"} <= set(WORDS)


def test_without_a_server_it_says_so(make_server: MakeServer) -> None:
    from typed_rmq import Connection

    server = make_server("valkey")
    with Connection(server.url, retry_budget=0.2) as connection:
        queue = Queue[int]("gone", connection)
        server.stop()
        with pytest.raises(QueueUnavailable):
            queue.doctor()


def info(server: RunningServer) -> bytes:
    with server.client() as client:
        return (
            str(client.execute_command("INFO", "replication"))
            .encode()
            .replace(b"'master_link_status': 'up'", b"master_link_status:up")
        )


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
