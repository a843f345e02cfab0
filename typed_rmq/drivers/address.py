"""The address of Redis, taken apart: one server, a Cluster, or what Sentinels watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import redis
from redis.connection import parse_url

__all__ = ["Address", "Kind", "parse_address"]

Kind = Literal["server", "cluster", "sentinel"]

_SCHEMES: Final[dict[str, tuple[Kind, str]]] = {
    "redis+cluster": ("cluster", "redis"),
    "rediss+cluster": ("cluster", "rediss"),
    "redis+sentinel": ("sentinel", "redis"),
    "rediss+sentinel": ("sentinel", "rediss"),
}
_PORTS: Final[dict[Kind, int]] = {"cluster": 6379, "sentinel": 26379}


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """``url`` is one that redis-py takes; ``hosts`` are the nodes or Sentinels to ask first."""

    kind: Kind
    url: str
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""

    @property
    def tls(self) -> bool:
        return self.url.startswith("rediss:")

    def options(self) -> dict[str, Any]:
        """The user, the password, and what the query says, for one of the many connections."""
        options = parse_url(self.url)
        for one in ("host", "port"):
            options.pop(one, None)
        if options.pop("connection_class", None) is redis.SSLConnection:
            options["ssl"] = True
        return options


def parse_address(url: str) -> Address:
    """Take a URL apart.

    It is ``redis+cluster://[user:password@]host:port,host:port``, or
    ``redis+sentinel://[user:password@]host:port,host:port/service[/database]``, with ``rediss`` in
    place of ``redis`` for TLS, or one that redis-py takes.

    Raises:
        ValueError: it is none of them. The text may hold a password.
    """
    found = _SCHEMES.get(url.partition("://")[0])
    if found is None:
        parse_url(url)
        return Address("server", url)
    kind, scheme = found
    parts = urlsplit(url)
    user, at, places = parts.netloc.rpartition("@")
    first, path, service = places.split(",")[0], parts.path.strip("/"), ""
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ValueError("the address does not say which master")
    if (path and not path.isdecimal()) or (kind == "cluster" and path not in ("", "0")):
        raise ValueError("a Cluster has only the database 0, and a database is a number")
    plain = urlunsplit((scheme, f"{user}{at}{first}", path, parts.query, ""))
    parse_url(plain)
    hosts = tuple(_place(one, _PORTS[kind]) for one in places.split(","))
    return Address(kind, plain, hosts, unquote(service))


def _place(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("the address names no host")
    return parts.hostname, port if parts.port is None else parts.port
