"""The snippets of docs/operations.md that need a Cluster, Sentinel, or TLS."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import redis.asyncio

from tests.docs.pages import ROOT, blocks
from tests.servers import RunningServer
from tests.where_it_runs.conftest import Fleets, documented_rule
from typed_rmq import Queue


def _snippet(word: str) -> str:
    page = (ROOT / "docs" / "operations.md").read_text()
    (code,) = [
        block.code for block in blocks(page) if block.not_run is not None and word in block.code
    ]
    return code


def _run(code: str, replace: dict[str, object]) -> None:
    for text, real in replace.items():
        assert text in code
        code = code.replace(text, str(real))
    exec(compile(code, "operations.md", "exec"), {"Queue": Queue})


@pytest.mark.servers("valkey")
def test_the_snippet_of_the_cluster(
    server: RunningServer, fleets: Fleets, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = fleets.cluster(server.kind)
    _run(_snippet("RedisCluster"), {"redis-1": "127.0.0.1", "7000": cluster.addresses[0][1]})
    assert capsys.readouterr().out == "1\n"
    cluster.flush()


@pytest.mark.servers("valkey")
def test_the_snippet_of_sentinel(
    server: RunningServer, fleets: Fleets, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = fleets.watched(server.kind)
    # The first one is not there: with the documented options the second one is asked at once.
    places: dict[str, object] = {
        '"sentinel-1", 26379': '"127.0.0.1", 1',
        '"sentinel-2", 26379': f'"127.0.0.1", {watched.addresses[0][1]}',
    }
    _run(_snippet("Sentinel("), places)
    assert capsys.readouterr().out == "1\n"
    watched.flush()


@pytest.mark.servers("redis7")
def test_the_snippet_of_tls(
    server: RunningServer, fleets: Fleets, capsys: pytest.CaptureFixture[str]
) -> None:
    one, port = fleets.tls(server.kind, client_certificates=True)
    certificate, key = fleets.certificates.client
    places: dict[str, object] = {
        "redis-1:6380": f"localhost:{port}",
        "/etc/redis/ca.pem": fleets.certificates.ca,
        "/etc/redis/client.pem": certificate,
        "/etc/redis/client.key": key,
    }
    _run(_snippet("rediss://"), places)
    assert capsys.readouterr().out == "1\n"
    one.command("FLUSHALL")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sync", "async"])
def test_f41_the_rights_for_a_cluster(
    server: RunningServer, fleets: Fleets, queue_name: str, run_async: Any, way: str
) -> None:
    """The rule, and what the docs say beyond it for a Cluster."""
    cluster = fleets.cluster(server.kind)
    more = ["+cluster|slots", "+asking", "+readonly", "+command"]
    page = (ROOT / "docs" / "operations.md").read_text()
    assert all(right in page for right in more)
    rule = [*documented_rule("RULE"), *more]
    for node in cluster.nodes:
        node.command("ACL", "SETUSER", "shop", "reset", "on", ">secret", *rule)
    host, port = cluster.addresses[0]
    options: dict[str, Any] = {"username": "shop", "password": "secret"}
    strategy = redis.cluster.LoadBalancingStrategy.ROUND_ROBIN

    async def main() -> None:
        client = redis.asyncio.RedisCluster(
            host=host, port=port, load_balancing_strategy=strategy, **options
        )
        async with Queue[int](queue_name, client) as queue:
            await queue.apublish(1)
            assert [msg.payload async for msg in queue.consume(until_empty=True)] == [1]
        await client.aclose()

    if way == "async":
        run_async(main())
    else:
        with (
            redis.RedisCluster(
                host=host, port=port, load_balancing_strategy=strategy, **options
            ) as client,
            Queue[int](queue_name, client) as queue,
        ):
            queue.publish(1)
            assert [msg.payload for msg in queue.consume(until_empty=True)] == [1]
    for node in cluster.nodes:
        node.command("ACL", "DELUSER", "shop")
