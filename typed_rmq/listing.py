"""Which queues a Redis holds."""

from __future__ import annotations

from .drivers.connection import Client, Connection
from .drivers.locate import locate

__all__ = ["aqueues", "queues"]


def queues(redis: str | Client | Connection | None = None) -> list[str]:
    """The names of all queues in a Redis, in alphabetical order.

    A queue is listed from its first publish, consumer, or pause on, also while it is empty. Redis
    is asked to walk over all of its keys (``SCAN``: some 0.2 s for a million, in small steps that
    hold nobody up), so this is for people and tools, not for every request.

    Args:
        redis: as for ``Queue``: a URL, a client of redis-py, or a ``Connection``. Left out:
            ``REDIS_URL``, else an embedded server.

    Raises:
        ConfigError: there is no address of Redis, or it is wrong, or the client is an asyncio one.
        QueueUnavailable: Redis did not answer within the retry budget, or this user may not
            ``SCAN``; ``queue`` is then ``"*"``.

    Example:
        >>> from typed_rmq import Queue, queues
        >>> receipts = Queue[int]("doc-b").publish(1), Queue[int]("doc-a").publish(1)
        >>> queues()
        ['doc-a', 'doc-b']
    """
    connection, made_here = locate(redis)
    try:
        return sorted(connection.queue_names())
    finally:
        if made_here:
            connection.close()


async def aqueues(redis: str | Client | Connection | None = None) -> list[str]:
    """``queues`` for asyncio."""
    connection, made_here = locate(redis)
    try:
        return sorted(await connection.aqueue_names())
    finally:
        if made_here:
            await connection.aclose()
