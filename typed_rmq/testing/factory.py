"""Queues for one test: made in one line, closed when the test ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypedDict, TypeVar, cast, overload

from typing_extensions import Unpack

from ..dedup import Dedup
from ..drivers.connection import Client, Connection
from ..errors import ConfigError
from ..events import Observer
from ..producer import Overflow
from ..queue import Queue
from ..retry import Duration, Retry
from ..serializers.protocol import Serializer, SerializerFactory, Wrapper

T = TypeVar("T")
Q = TypeVar("Q", bound="Queue[Any]")

__all__ = ["QueueFactory", "QueueOptions"]


class QueueOptions(TypedDict, Generic[T], total=False):
    """The options of ``Queue``; see there."""

    serializer: Serializer[T] | SerializerFactory | Wrapper
    dedup: Dedup[T] | None
    retry: Retry
    lease: Duration
    max_length: int | None
    overflow: Overflow
    keep_done: int
    keep_dead: int
    observers: Sequence[Observer]
    max_payload: int


class QueueFactory:
    """Makes queues on one Redis; the fixture ``rmq_queue`` is one.

    Called with the type of the payloads, or with a queue class where the type is no class:
    ``make(Order)``, ``make(Queue[Created | Deleted], "events")``. A name left out is that of the
    type, in small letters.

    Args:
        redis: where the queues are, unless told otherwise.

    Example:
        >>> import os
        >>> from typed_rmq import Queue
        >>> from typed_rmq.testing import QueueFactory
        >>> make = QueueFactory(os.environ["REDIS_URL"])
        >>> numbers = make(int, lease=5)
        >>> numbers
        <Queue[int] 'int'>
        >>> make(Queue[int | str], "either")
        <Queue[int | str] 'either'>
        >>> make.close()
    """

    def __init__(self, redis: str) -> None:
        self._redis = redis
        self._made: list[Queue[Any]] = []
        self._connections: list[Connection] = []

    @overload
    def __call__(
        self,
        kind: type[Q],
        name: str | None = None,
        redis: str | Client | Connection | None = None,
        *,
        retry_budget: Duration | None = None,
        **options: Unpack[QueueOptions[Any]],
    ) -> Q: ...

    @overload
    def __call__(
        self,
        kind: type[T],
        name: str | None = None,
        redis: str | Client | Connection | None = None,
        *,
        retry_budget: Duration | None = None,
        **options: Unpack[QueueOptions[T]],
    ) -> Queue[T]: ...

    def __call__(
        self,
        kind: type[T],
        name: str | None = None,
        redis: str | Client | Connection | None = None,
        *,
        retry_budget: Duration | None = None,
        **options: Unpack[QueueOptions[T]],
    ) -> Queue[T] | T:
        """A queue, closed by ``close``.

        Args:
            kind: the type of its payloads, or a queue class.
            name: the queue's name.
            redis: where it is, in place of the factory's; ``rmq_faults.url``, for example.
            retry_budget: of its connection, in seconds: for tests with a Redis that is down.
            options: those of ``Queue``.
        """
        made: type[Queue[T]]
        if issubclass(kind, Queue):
            made = cast("type[Queue[T]]", kind)
        else:
            made = Queue.__class_getitem__(kind)
        where = redis or self._redis
        if retry_budget is not None:
            if isinstance(where, Connection):
                raise ConfigError("retry_budget is an option of the Connection that was given")
            where = Connection(where, retry_budget=retry_budget)
            self._connections.append(where)
        queue = made(name or kind.__name__.lower(), where, **options)
        self._made.append(queue)
        return queue

    def close(self) -> None:
        """Close the queues that were made: their consumers end, their connections close."""
        while self._made:
            self._made.pop().close()
        while self._connections:
            self._connections.pop().close()

    async def aclose(self) -> None:
        """``close`` for asyncio: also closes the connections of the running event loop."""
        while self._made:
            await self._made.pop().aclose()
        while self._connections:
            await self._connections.pop().aclose()
