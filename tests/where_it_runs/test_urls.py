"""Addresses of a Cluster and of Sentinels: what they may say, what is refused, who follows them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.cli.conftest import Shell
from tests.fleets import Cluster, start_tls
from tests.servers import RunningServer, free_port
from tests.where_it_runs.conftest import Fleets
from typed_rmq import ConfigError, Connection, Queue, QueueUnavailable, aqueues, queues
from typed_rmq.drivers.address import parse_address
from typed_rmq.drivers.clients import async_pool, pool
from typed_rmq.settings import QueueSettings

RunAsync = Callable[[Coroutine[Any, Any, object]], object]
SECRET = "hunter2-4711"


def test_what_an_address_says() -> None:
    of_cluster = parse_address(
        "rediss+cluster://me:p%40ss@one:7000,[::1]:7001,three?ssl_ca_certs=ca"
    )
    assert of_cluster.kind == "cluster"
    assert of_cluster.hosts == (("one", 7000), ("::1", 7001), ("three", 6379))
    assert of_cluster.options() == {
        "username": "me", "password": "p@ss", "ssl": True, "ssl_ca_certs": "ca",
    }  # fmt: skip
    watched = parse_address("redis+sentinel://:pw@one,two:26380/my%20master/3?sentinel_password=x")
    assert (watched.kind, watched.service) == ("sentinel", "my master")
    assert watched.hosts == (("one", 26379), ("two", 26380))
    assert watched.options() == {"password": "pw", "db": 3, "sentinel_password": "x"}
    assert SECRET not in repr(parse_address(f"redis+cluster://:{SECRET}@one"))


@pytest.mark.parametrize(
    "address",
    ["redis+cluster://one:x", "redis+cluster://one,", "redis+cluster://", "redis+cluster://one/1",
     "redis+sentinel://one:1", "redis+sentinel://one/service/x", "cluster://one", "redis+x://one",
     "redis+cluster://one?socket_timeout=soon"],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(ConfigError, match="not a URL") as refused:
        Connection(address.replace("://", f"://me:{SECRET}@"))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [f"{kind}?{option}"
     for kind in ("redis://one:1", "rediss+cluster://one", "redis+sentinel://one/it")
     for option in ("retry_budget=2", "4711=1@host")]
    + ["rediss://one?ssl_cert_reqs=4711"],
)  # fmt: skip
def test_an_option_that_redis_does_not_know_is_refused_at_once(address: str) -> None:
    with pytest.raises(ConfigError, match=r"behind its \?") as refused:
        Connection(address)
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["redis://one?max_connections=5&socket_timeout=3&health_check_interval=9", "redis://one?db=3",
     "unix:///tmp/one?db=2", "rediss://one?ssl_cert_reqs=none", "redis+cluster://one?client_name=x",
     "redis+sentinel://one/it?client_name=x&sentinel_password=y"],
)  # fmt: skip
def test_options_that_redis_knows_are_taken(address: str) -> None:
    Connection(address)


def test_where_nobody_listens_nothing_was_sent() -> None:
    connection = Connection(f"redis://127.0.0.1:{free_port()}", retry_budget=0.1)
    with pytest.raises(QueueUnavailable, match=r"Nothing was sent\. Check that Redis runs"):
        Queue[int]("numbers", connection).publish(1)


def test_sentinels_and_the_master_have_passwords_and_certificates_of_their_own(
    run_async: RunAsync,
) -> None:
    address = parse_address(
        "rediss+sentinel://me:master@one/service/2?ssl_ca_certs=ca&sentinel_password=watcher"
    )
    made, close = pool(address)
    async_made, aclose = async_pool(address, socket_timeout=None)
    kinds = (redis.SSLConnection, redis.asyncio.SSLConnection)
    for one, kind in zip((made, async_made), kinds, strict=True):
        assert isinstance(one, redis.SentinelConnectionPool | redis.asyncio.SentinelConnectionPool)
        assert issubclass(one.connection_class, kind)
        options = one.connection_kwargs
        assert (options["username"], options["password"], options["db"]) == ("me", "master", 2)
        assert options["ssl_ca_certs"] == "ca"
        [sentinel] = one.sentinel_manager.sentinels
        of_sentinel = sentinel.connection_pool.connection_kwargs
        assert issubclass(sentinel.connection_pool.connection_class, kind)
        assert (of_sentinel.get("username"), of_sentinel["password"]) == (None, "watcher")
        assert (of_sentinel["ssl_ca_certs"], of_sentinel["db"]) == ("ca", 0)
    close()
    run_async(aclose())


# --- a Cluster


@pytest.fixture
def nodes(server: RunningServer, fleets: Fleets) -> Iterator[Cluster]:
    """Three nodes at work."""
    nodes = fleets.cluster(server.kind)
    nodes.flush()  # others use it, too
    yield nodes
    nodes.flush()


@pytest.fixture
def address(nodes: Cluster) -> str:
    return "redis+cluster://" + ",".join(f"{host}:{port}" for host, port in nodes.addresses)


NAMES = ["alpha", "beta", "delta", "gamma"]
"""Queues that lie on all three nodes."""


@pytest.mark.servers("valkey")
def test_queues_of_all_nodes_share_a_connection_and_are_listed(
    nodes: Cluster, address: str, run_async: RunAsync
) -> None:
    with Connection(address) as connection:
        for name in NAMES:
            Queue[int](name, connection).publish(1)
        assert queues(connection) == NAMES
    holding = [node for node in nodes.nodes[:3] if node.keys()]
    assert len(holding) == 3

    async def main() -> None:
        async with Connection(address) as connection:
            assert await aqueues(connection) == NAMES
            for name in NAMES:
                queue = Queue[int](name, connection)
                assert [msg.payload async for msg in queue.consume(until_empty=True)] == [1]

    run_async(main())


@pytest.mark.servers("valkey")
def test_the_command_line_works_on_a_cluster(address: str, tmp_path: Path) -> None:
    shell = Shell(address, tmp_path)

    def command(*arguments: str) -> str:
        done = shell(*arguments)
        assert done.code == 0, done.err
        return done.out

    ids: list[str] = []
    for name in NAMES:
        with Queue[int](name, address) as queue:
            ids.append(queue.publish(7).id)
            for msg in queue.consume(until_empty=True):
                msg.reject("no such article")
    told = [json.loads(line) for line in command("stats", "--json").splitlines()]
    assert [(one["queue"], one["dead"]) for one in told] == [(name, 1) for name in NAMES]
    for name, message_id in zip(NAMES, ids, strict=True):
        assert "no such article" in command("dead", "show", name, message_id)
        command("dead", "redrive", name, "--all")
        assert message_id in command("peek", name, "--redis", address)
        command("pause", name)
        command("audit", name)
        command("purge", name, "--yes")


@pytest.mark.servers("valkey")
def test_settings_know_the_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", address)
    settings = QueueSettings()
    with settings.connection() as connection:
        assert Queue[int]("alpha", connection, **settings.options()).publish(1).id


@pytest.mark.servers("valkey")
def test_a_wrong_password_is_told_at_once(
    server: RunningServer, address: str, run_async: RunAsync
) -> None:
    wrong = address.replace("://", f"://nobody:{SECRET}@")
    before = time.monotonic()
    with Queue[int]("alpha", wrong) as queue:
        with pytest.raises(QueueUnavailable, match="refused the connection") as told:
            queue.publish(1)
        assert SECRET not in str(told.value)

    async def main() -> None:
        async with Queue[int]("alpha", wrong) as queue:
            with pytest.raises(QueueUnavailable, match="refused the connection"):
                await queue.apublish(1)

    run_async(main())
    assert time.monotonic() - before < 25, "not after the retries of half a minute"


@pytest.mark.servers("valkey")
def test_a_cluster_where_there_is_none_and_none_where_there_is_one(
    server: RunningServer, nodes: Cluster, run_async: RunAsync
) -> None:
    alone = server.url.replace("redis://", "redis+cluster://")
    with Queue[int]("alpha", alone) as queue, pytest.raises(ConfigError, match="of no Cluster"):
        queue.publish(1)

    async def main() -> None:
        async with Queue[int]("alpha", alone) as queue:
            with pytest.raises(ConfigError, match="of no Cluster"):
                await queue.apublish(1)

    run_async(main())
    told = 0
    for host, port in nodes.addresses[:3]:
        with Queue[int]("alpha", f"redis://{host}:{port}") as queue:
            try:
                queue.publish(1)
            except ConfigError as error:
                assert "redis+cluster://" in str(error)
                told += 1
    assert told == 2, "the two nodes that do not have the queue's slot"


@pytest.mark.servers("redis7")
def test_tls_in_a_cluster(fleets: Fleets, run_async: RunAsync) -> None:
    cluster = (
        "--cluster-enabled",
        "yes",
        "--tls-cluster",
        "yes",
        "--cluster-port",
        str(free_port()),
    )
    with start_tls("redis7", fleets.certificates, *cluster) as (one, port):
        one.command("CLUSTER", "ADDSLOTS", *range(16384))
        deadline = time.monotonic() + 60
        while b"cluster_state:ok" not in _bytes(one.command("CLUSTER", "INFO")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        url = f"rediss+cluster://localhost:{port}?ssl_ca_certs={fleets.certificates.ca}"
        with Queue[int]("alpha", url) as queue:
            queue.publish_many(range(50))
            assert sum(1 for _ in queue.consume(until_empty=True)) == 50
            assert queues(url) == ["alpha"]

        async def main() -> None:
            async with Queue[int]("alpha", url) as queue:
                await queue.apublish(100)
                assert [msg.payload async for msg in queue.consume(until_empty=True)] == [100]

        run_async(main())


@pytest.mark.servers("redis7")
def test_tls_with_a_sentinel(fleets: Fleets, run_async: RunAsync, tmp_path: Path) -> None:
    everywhere = ("--tls-replication", "yes")
    config = tmp_path / "sentinel.conf"
    with start_tls("redis7", fleets.certificates, *everywhere) as (_, port):
        config.write_text(
            "sentinel resolve-hostnames yes\n"
            "sentinel announce-hostnames yes\n"
            f"sentinel monitor it localhost {port} 1\n"
        )
        with start_tls("redis7", fleets.certificates, "--sentinel", *everywhere, config=config) as (
            _,
            watching,
        ):
            url = f"localhost:{watching}/it?ssl_ca_certs={fleets.certificates.ca}"
            with Queue[int]("alpha", f"rediss+sentinel://{url}") as queue:
                queue.publish_many(range(50))
                assert sum(1 for _ in queue.consume(until_empty=True)) == 50

            async def main() -> None:
                async with Queue[int]("alpha", f"rediss+sentinel://{url}") as queue:
                    await queue.apublish(100)
                    assert [msg.payload async for msg in queue.consume(until_empty=True)] == [100]

            run_async(main())
            plain = Connection(f"redis+sentinel://{url.partition('?')[0]}", retry_budget=0.5)
            with pytest.raises(QueueUnavailable):
                Queue[int]("alpha", plain).publish(1)


def _bytes(reply: object) -> bytes:
    return reply if isinstance(reply, bytes) else str(reply).encode()
