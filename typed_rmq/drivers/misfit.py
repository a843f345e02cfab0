"""Finding out why no connection comes off, where waiting cannot help. It is asked when in doubt.

A TLS port resets a connection that sends plain text, as a server does that is just being stopped.
A plain port waits for the rest of what it takes for a long line, until the handshake has used up
its time. So the port is asked, on a connection of its own, in the other language: its answer is
proof. Nothing secret is sent, and the connection is used for nothing else.

A server that does not accept our certificate says so after the handshake, in TLS 1.3. Whoever
writes first may get a reset in place of it. So one connection only listens.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.backoff import NoBackoff
from redis.sentinel import SentinelConnectionPool

__all__ = ["PROBE_SECONDS", "Misfit", "chain", "listening", "of_pool", "refused_by_tls"]

PROBE_SECONDS: Final = 1.0

_TLS_RECORDS: Final = (b"\x15\x03", b"\x16\x03")
"""An alert, or the server's part of the handshake."""


# What TLS says when a connection breaks, which says nothing of certificates.
_TLS_BREAKS: Final = (
    ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError,
    ssl.SSLWantReadError, ssl.SSLWantWriteError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Misfit:
    """A port, and whether we take it for one that speaks TLS."""

    address: tuple[str, int]
    tls: bool

    def question(self) -> bytes:
        """What a port of the other kind would answer."""
        return b"PING\r\n" if self.tls else _client_hello()

    def reason(self, answer: bytes) -> str | None:
        """What is wrong, if the answer is that of the other kind."""
        if self.tls and answer[:1] in (b"+", b"-"):
            return (
                "the server speaks plain text on this port, and TLS was asked for. Use the "
                "server's TLS port; or no TLS, if the network is to be trusted"
            )
        if not self.tls and answer[:2] in _TLS_RECORDS:
            return (
                "the server speaks TLS on this port, and plain text was sent. Use the scheme "
                "rediss, or ssl=True for a client of your own"
            )
        return None


def of_pool(pool: redis.ConnectionPool | redis.asyncio.ConnectionPool) -> Misfit | None:
    """The port that a pool connects to; None for a unix socket, or where nothing is known yet."""
    if isinstance(pool, SentinelConnectionPool | AsyncSentinelPool):
        address = pool.master_address
    else:
        options = pool.connection_kwargs
        address = (options.get("host", "localhost"), options.get("port", 6379))
    kind = pool.connection_class
    if address is None or issubclass(
        kind, redis.UnixDomainSocketConnection | redis.asyncio.UnixDomainSocketConnection
    ):
        return None
    tls = issubclass(kind, redis.SSLConnection | redis.asyncio.SSLConnection)
    return Misfit((str(address[0]), int(address[1])), tls)


def listening(pool: redis.ConnectionPool | redis.asyncio.ConnectionPool) -> dict[str, Any]:
    """The options of a connection like the pool's, which says nothing after the handshake."""
    if isinstance(pool, redis.asyncio.ConnectionPool):
        once: object = redis.asyncio.retry.Retry(NoBackoff(), 0)
    else:
        once = redis.retry.Retry(NoBackoff(), 0)
    nothing = dict.fromkeys(
        ("username", "password", "credential_provider", "client_name", "driver_info")
    )
    quiet = {"db": 0, "protocol": 2, "redis_connect_func": None, "health_check_interval": 0}
    return {**pool.connection_kwargs, **nothing, **quiet, "retry": once}


def refused_by_tls(error: BaseException) -> str | None:
    """What TLS says, if one of the two sides does not accept the other, which no retry changes."""
    for one in chain(error):
        if isinstance(one, ssl.SSLError) and not isinstance(one, _TLS_BREAKS):
            text = str(one)
            if "EOF" not in text and "timed out" not in text:
                return text
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it came from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    # Only to see whether it answers at all: nothing is read from it, and nothing is trusted.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()
