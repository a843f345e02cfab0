"""The dead letters of a queue: read them, send them round again, delete them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Final, Generic, TypeVar

from . import commands
from .backend import AsyncBackend, SyncBackend
from .commands import Command, RedriveReply
from .events import Observer, Observers, RedriveConflict
from .keys import QueueKeys
from .producer import Lane
from .reading import dead_letter
from .results import DeadLetter
from .serializers.codec import Codec

T = TypeVar("T")

__all__ = ["DeadLetters"]

logger: Final = logging.getLogger("typed_rmq")

PAGE: Final = 100
REDRIVE: Final = 200
"""Letters a call: some four milliseconds of Redis, in which nobody else has a turn."""


class DeadLetters(Generic[T]):
    """The messages that were given up, oldest first.

    Example:
        >>> from typed_rmq import Queue
        >>> numbers = Queue[int]("doc-dead")
        >>> _ = numbers.publish(13)
        >>> for msg in numbers.consume(until_empty=True):
        ...     msg.reject("unlucky")
        >>> [(letter.payload, letter.reason) for letter in numbers.dead]
        [(13, 'unlucky')]
        >>> numbers.dead.redrive()
        1
        >>> len(numbers.dead)
        0
    """

    def __init__(
        self,
        keys: QueueKeys,
        codec: Codec[T],
        observers: Observers,
        window_ms: int,
        sync: SyncBackend,
        asynchronous: Callable[[], AsyncBackend],
    ) -> None:
        self._keys = keys
        self._codec = codec
        self._observers = observers
        self._window_ms = window_ms
        self._sync = sync
        self._async = asynchronous

    # --- reading

    def count(self) -> int:
        """How many there are."""
        return self._sync.call(lambda _: commands.stats(self._keys)).dead

    def __len__(self) -> int:
        return self.count()

    async def acount(self) -> int:
        """``count`` for asyncio."""
        return (await self._async().call(lambda _: commands.stats(self._keys))).dead

    def __bool__(self) -> bool:
        """The view itself is always there: ask ``len(queue.dead)`` for letters."""
        return True

    def __iter__(self) -> Iterator[DeadLetter[T]]:
        after = "-"
        while True:
            page = self._sync.call(partial(self._page, after))
            yield from (dead_letter(self._codec, entry) for entry in page)
            if len(page) < PAGE:
                return
            after = page[-1].at

    async def __aiter__(self) -> AsyncIterator[DeadLetter[T]]:
        after = "-"
        while True:
            page = await self._async().call(partial(self._page, after))
            for entry in page:
                yield dead_letter(self._codec, entry)
            if len(page) < PAGE:
                return
            after = page[-1].at

    def _page(self, after: str, _: Lane) -> Command[list[commands.DeadEntry]]:
        return commands.dead_read(self._keys, after=after, limit=PAGE)

    def get(self, message_id: str) -> DeadLetter[T] | None:
        """The dead letter of a message, or ``None``."""
        return self._first(
            self._sync.call(lambda _: commands.dead_read(self._keys, message_id=message_id))
        )

    async def aget(self, message_id: str) -> DeadLetter[T] | None:
        """``get`` for asyncio."""
        return self._first(
            await self._async().call(
                lambda _: commands.dead_read(self._keys, message_id=message_id)
            )
        )

    def _first(self, entries: list[commands.DeadEntry]) -> DeadLetter[T] | None:
        return dead_letter(self._codec, entries[0]) if entries else None

    # --- sending round again

    def redrive(self, *message_ids: str) -> int:
        """Put dead letters back in the queue as new, with all their attempts; returns how many.

        Without ids: all that are there when it begins. Each takes its dedup key back; one whose
        key belongs to another message by now stays a dead letter, which is logged and told to
        the observers (``redrive_conflict``). Bytes that are no message stay, too.

        A key that is held for a time is taken back for the window of this queue object; with
        ``dedup=None`` for the window that the queue was last published to with.
        """
        if message_ids:
            return sum(
                self._done(self._sync.call(partial(self._some, ids)))
                for ids in _chunks(message_ids)
            )
        total, after, left = 0, "-", self.count()
        while left > 0:
            reply = self._sync.call(partial(self._all, after))
            total += self._done(reply)
            if reply.seen < REDRIVE:
                break
            after, left = reply.last, left - reply.seen
        return total

    async def aredrive(self, *message_ids: str) -> int:
        """``redrive`` for asyncio."""
        call = self._async().call
        if message_ids:
            total = 0
            for ids in _chunks(message_ids):
                total += self._done(await call(partial(self._some, ids)))
            return total
        total, after, left = 0, "-", await self.acount()
        while left > 0:
            reply = await call(partial(self._all, after))
            total += self._done(reply)
            if reply.seen < REDRIVE:
                break
            after, left = reply.last, left - reply.seen
        return total

    def _some(self, ids: tuple[str, ...], lane: Lane) -> Command[RedriveReply]:
        return commands.redrive(
            self._keys,
            self._keys.lane(lane.token),
            lane.next_number(),
            window_ms=self._window_ms,
            ids=ids,
        )

    def _all(self, after: str, lane: Lane) -> Command[RedriveReply]:
        return commands.redrive(
            self._keys,
            self._keys.lane(lane.token),
            lane.next_number(),
            window_ms=self._window_ms,
            after=after,
            limit=REDRIVE,
        )

    def _done(self, reply: RedriveReply) -> int:
        for message_id, holder in reply.conflicts:
            logger.warning(
                "queue %s: dead letter %s stays one: message %s was published with its dedup key",
                self._keys.name,
                message_id,
                holder,
            )
            if self._observers:
                self._observers.tell(
                    Observer.redrive_conflict,
                    RedriveConflict(self._keys.name, message_id, holder),
                )
        return reply.redriven

    # --- deleting

    def purge(self) -> int:
        """Delete all dead letters; returns how many."""
        return self._sync.call(self._purge)

    async def apurge(self) -> int:
        """``purge`` for asyncio."""
        return await self._async().call(self._purge)

    def _purge(self, lane: Lane) -> Command[int]:
        return commands.dead_purge(self._keys, self._keys.lane(lane.token), lane.next_number())


def _chunks(ids: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(ids), REDRIVE):
        yield ids[start : start + REDRIVE]
