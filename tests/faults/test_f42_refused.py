"""F42: a wrong password, or the wrong kind of port: said at once, and nothing is tried again."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeServer
from tests.servers import free_port
from typed_rmq import Queue, QueueUnavailable

RunAsync = Callable[[Coroutine[Any, Any, object]], object]

SECRET = "hunter2-4711"


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


@pytest.fixture
def tls_port(make_server: MakeServer, tmp_path: Path) -> int:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    make_server(
        "redis7",
        *("--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)),
        *("--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no"),
    )
    return port


@pytest.mark.servers("redis7")
def test_f42_a_certificate_that_nobody_vouches_for(
    tls_port: int, server_kind: str, run_async: RunAsync
) -> None:
    _fails_at_once(f"rediss://127.0.0.1:{tls_port}/0", run_async, "certificate")


@pytest.mark.servers("redis7")
def test_f42_tls_works_where_it_is_told_so(tls_port: int, server_kind: str) -> None:
    url = f"rediss://127.0.0.1:{tls_port}/0?ssl_cert_reqs=none"
    with Queue[int]("q", url) as queue:
        queue.publish(1)
        assert [msg.payload for msg in queue.consume(until_empty=True)] == [1]
        queue.purge()
