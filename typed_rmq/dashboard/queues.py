"""What the dashboard needs of a queue, and how it calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, Protocol, TypeVar

from typed_rmq import (
    ConfigError,
    Connection,
    ConsumerInfo,
    DeadLetter,
    Peeked,
    Queue,
    QueueStats,
    State,
    aqueues,
)

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["DashboardQueue", "Discovery", "QueueSource", "Reach"]


class DeadView(Protocol):
    """The dead letters of a queue, of whatever type; ``Queue.dead`` is one."""

    def get(self, message_id: str) -> DeadLetter[object] | None: ...
    async def aget(self, message_id: str) -> DeadLetter[object] | None: ...
    def redrive(self, *message_ids: str) -> int: ...
    async def aredrive(self, *message_ids: str) -> int: ...
    def purge(self) -> int: ...
    async def apurge(self) -> int: ...


class DashboardQueue(Protocol):
    """A queue of whatever type: every ``Queue[...]`` is one."""

    @property
    def name(self) -> str: ...
    @property
    def dead(self) -> DeadView: ...
    def stats(self) -> QueueStats: ...
    async def astats(self) -> QueueStats: ...
    def peek(
        self, n: int = 10, state: State = "ready", *, after: str | None = None
    ) -> Sequence[Peeked[object]]: ...
    async def apeek(
        self, n: int = 10, state: State = "ready", *, after: str | None = None
    ) -> Sequence[Peeked[object]]: ...
    def find(self, message_id: str) -> Peeked[object] | None: ...
    async def afind(self, message_id: str) -> Peeked[object] | None: ...
    def consumers(self) -> Sequence[ConsumerInfo]: ...
    async def aconsumers(self) -> Sequence[ConsumerInfo]: ...
    def purge(self) -> int: ...
    async def apurge(self) -> int: ...
    def promote(self, *message_ids: str) -> int: ...
    async def apromote(self, *message_ids: str) -> int: ...
    def pause(self) -> None: ...
    async def apause(self) -> None: ...
    def resume(self) -> None: ...
    async def aresume(self) -> None: ...
    async def aclose(self) -> None: ...


QueueSource = Callable[[], Awaitable[Sequence[DashboardQueue]]]
"""Is asked now and then which queues there are."""


class Discovery:
    """All queues of one Redis, by their names: their payloads are shown as they are stored.

    Args:
        redis: the address, as for ``Queue``; left out: ``REDIS_URL``, else an embedded server.
    """

    def __init__(self, redis: str | Connection | None = None) -> None:
        self._redis = redis
        self._own = Connection(redis) if isinstance(redis, str) else None
        self._queues: dict[str, DashboardQueue] = {}

    async def __call__(self) -> Sequence[DashboardQueue]:
        """The queues that there are now."""
        where = self._own or self._redis
        names = await aqueues(where)
        for name in names:
            if name not in self._queues:
                # Without a window of its own: what it redrives takes that of its publishers.
                self._queues[name] = Queue[object](name, where, dedup=None)
        return [self._queues[name] for name in names]

    async def aclose(self) -> None:
        """Close the connections that were made here."""
        for queue in self._queues.values():
            await queue.aclose()
        if self._own is not None:
            await self._own.aclose()


class Reach:
    """One queue, called from coroutines: in a thread, where its client is a sync one."""

    def __init__(self, queue: DashboardQueue) -> None:
        self.queue = queue
        self._sync_only = False

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.queue.name

    async def stats(self) -> QueueStats:
        return await self._do(self.queue.astats, self.queue.stats)

    async def peek(
        self, n: int, state: State, after: str | None = None
    ) -> Sequence[Peeked[object]]:
        return await self._do(self.queue.apeek, self.queue.peek, n, state, after=after)

    async def find(self, message_id: str) -> Peeked[object] | None:
        return await self._do(self.queue.afind, self.queue.find, message_id)

    async def letter(self, message_id: str) -> DeadLetter[object] | None:
        return await self._do(self.queue.dead.aget, self.queue.dead.get, message_id)

    async def consumers(self) -> Sequence[ConsumerInfo]:
        return await self._do(self.queue.aconsumers, self.queue.consumers)

    async def redrive(self, *ids: str) -> int:
        return await self._do(self.queue.dead.aredrive, self.queue.dead.redrive, *ids)

    async def bury_for_good(self) -> int:
        return await self._do(self.queue.dead.apurge, self.queue.dead.purge)

    async def promote(self, *ids: str) -> int:
        return await self._do(self.queue.apromote, self.queue.promote, *ids)

    async def purge(self) -> int:
        return await self._do(self.queue.apurge, self.queue.purge)

    async def pause(self) -> None:
        await self._do(self.queue.apause, self.queue.pause)

    async def resume(self) -> None:
        await self._do(self.queue.aresume, self.queue.resume)

    async def _do(
        self,
        asynchronous: Callable[P, Awaitable[R]],
        sync: Callable[P, R],
        *args: P.args,
        **options: P.kwargs,
    ) -> R:
        if not self._sync_only:
            try:
                return await asynchronous(*args, **options)
            except ConfigError as error:
                try:
                    answer = await asyncio.to_thread(sync, *args, **options)
                except ConfigError:
                    raise error from None
                self._sync_only = True
                return answer
        return await asyncio.to_thread(sync, *args, **options)
