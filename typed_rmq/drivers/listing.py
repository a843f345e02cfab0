"""Which queues there are: a SCAN of the keyspace, on every node that holds a part of it.

A queue has no entry in a register that could differ from what is there: it is its keys. So its
name is read from the three of them that every queue has at least one of, as long as it is more
than a name: ``stats`` (something was published or consumed), ``meta`` (it was paused), and
``sessions`` (a consumer waits).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, cast

import redis
import redis.asyncio

from .failures import RETRIABLE, Attempts, Resend

__all__ = ["alist_names", "list_names"]

PATTERN: Final = "trmq:{*}:[ms][et]*"
"""Matches meta, stats, and sessions, and leaves the many keys of the deduplication out."""

PAGE: Final = 1000
"""Keys that one call looks at: some 0.2 ms of the server's time."""

REST: Final = ("MATCH", PATTERN, "COUNT", PAGE)

ALL: Final = "*"
"""Stands for the queue's name in errors."""

_KEY: Final = re.compile(rb"trmq:\{([A-Za-z0-9._:-]{1,128})\}:(?:meta|stats|sessions)")


def list_names(client: Callable[[], redis.Redis | redis.RedisCluster], budget: float) -> set[str]:
    """The names of all queues; tried again for ``budget`` seconds where Redis does not answer."""
    attempts = Attempts(ALL, budget, _nobody, since=time.monotonic())
    while True:
        try:
            return _scan(client())
        except RETRIABLE as error:
            time.sleep(_delay(attempts, error))


async def alist_names(
    client: Callable[[], Awaitable[redis.asyncio.Redis | redis.asyncio.RedisCluster]],
    budget: float,
) -> set[str]:
    """``list_names`` for asyncio."""
    attempts = Attempts(ALL, budget, _nobody, since=time.monotonic())
    while True:
        try:
            return await _ascan(await client())
        except RETRIABLE as error:
            delay = _delay(attempts, error)
        await asyncio.sleep(delay)


def _scan(client: redis.Redis | redis.RedisCluster) -> set[str]:
    nodes: Iterable[redis.Redis]
    if isinstance(client, redis.RedisCluster):
        nodes = [client.get_redis_connection(node) for node in client.get_primaries()]
    else:
        nodes = (client,)
    names: set[str] = set()
    for node in nodes:
        cursor = 0
        while True:
            cursor, found = _page(node.execute_command("SCAN", cursor, *REST, NEVER_DECODE=True))
            names |= found
            if cursor == 0:
                break
    return names


async def _ascan(client: redis.asyncio.Redis | redis.asyncio.RedisCluster) -> set[str]:
    nodes: Iterable[redis.asyncio.Redis | redis.asyncio.cluster.ClusterNode]
    if isinstance(client, redis.asyncio.RedisCluster):
        await client.initialize()
        nodes = client.get_primaries()
    else:
        nodes = (client,)
    names: set[str] = set()
    for node in nodes:
        cursor = 0
        while True:
            reply = await node.execute_command("SCAN", cursor, *REST, NEVER_DECODE=True)
            cursor, found = _page(reply)
            names |= found
            if cursor == 0:
                break
    return names


def _page(reply: object) -> tuple[int, set[str]]:
    """The cursor to go on with, and the names.

    Keys come undecoded, whatever the client does otherwise: a foreign one may be any bytes.
    """
    if not isinstance(reply, list | tuple):
        raise ValueError("SCAN's reply is not a list")
    cursor, keys = cast("list[object]", reply)
    names: set[str] = set()
    for key in cast("list[object]", keys):
        if match := _KEY.fullmatch(cast("bytes", key)):
            names.add(match[1].decode())
    return int(cast("int", cursor)), names


def _delay(attempts: Attempts, error: Exception) -> float:
    resend: Resend = attempts.after(error, time.monotonic(), can_fill=False)
    return resend.delay


def _nobody(reason: str) -> None:
    del reason
