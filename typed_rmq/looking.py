"""What operators use to look at a queue: counts, messages, consumers, and the dead letters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from . import commands, lookups
from .commands import Command
from .deadletters import DeadLetters
from .errors import ConfigError
from .lookups import FindReply, SessionReply
from .parts import Parts
from .producer import MAX_BATCH
from .reading import consumer_info, peeked, queue_stats
from .results import ConsumerInfo, Peeked, QueueStats, State

T = TypeVar("T")

__all__ = ["Looking"]

SEARCHED: Final[tuple[State, ...]] = ("dead", "in_flight", "ready", "delayed", "done")
"""In this order: what has an index, what is short, what is on its way, what has ended."""
SHOWN_IDS: Final = 10

_CURSOR = re.compile(r"[0-9]{0,15}", re.ASCII)
# Redis takes numbers of more digits for an error.
_LOG_CURSOR = re.compile(r"(?:[0-9]{1,19}-[0-9]{1,19})?", re.ASCII)


class Looking(Generic[T]):
    """What operators use to look; part of ``Queue``."""

    _parts: Parts[T]

    def stats(self) -> QueueStats:
        """The queue's contents and counters at one moment."""
        return queue_stats(self._parts.sync.call(lambda _: commands.stats(self._parts.keys)))

    async def astats(self) -> QueueStats:
        """``stats`` for asyncio."""
        return queue_stats(
            await self._parts.backend().call(lambda _: commands.stats(self._parts.keys))
        )

    def peek(
        self, n: int = 10, state: State = "ready", *, after: Peeked[object] | str | None = None
    ) -> list[Peeked[T]]:
        """Look at up to ``n`` (1 to 1,000) messages without taking them.

        Ready and delayed ones come in the order of their delivery, dead and done ones the newest
        first. ``after``, the last message of a page or its ``cursor``, gives the page behind it.
        In a queue at work messages come and go between two pages: pages of ready, delayed, and
        in-flight ones may then overlap or miss some; those of dead and done ones never do.

        Example:
            >>> from typed_rmq import Queue
            >>> numbers = Queue[int]("doc-peek")
            >>> receipts = numbers.publish_many([1, 2, 3])
            >>> first = numbers.peek(2)
            >>> [seen.payload for seen in numbers.peek(2, after=first[-1])]
            [3]
        """
        command, position = self._peek(n, state, after)
        items = self._parts.sync.call(lambda _: command)
        return self._peeked(state, items, position)

    async def apeek(
        self, n: int = 10, state: State = "ready", *, after: Peeked[object] | str | None = None
    ) -> list[Peeked[T]]:
        """``peek`` for asyncio."""
        command, position = self._peek(n, state, after)
        items = await self._parts.backend().call(lambda _: command)
        return self._peeked(state, items, position)

    def _peek(
        self, n: int, state: State, after: Peeked[object] | str | None
    ) -> tuple[Command[list[tuple[bytes, ...]]], int]:
        name = self._parts.keys.name
        if not isinstance(n, int) or not 1 <= n <= MAX_BATCH:
            raise ConfigError(f"n must be 1 to {MAX_BATCH}, got {n!r}", queue=name)
        if state not in SEARCHED:
            raise ConfigError(f"{state!r:.50} is no state of a message", queue=name)
        if isinstance(after, Peeked) and after.state != state:
            raise ConfigError(
                f"after is a message seen {after.state}, which no page of {state} can follow",
                queue=name,
            )
        cursor = after.cursor if isinstance(after, Peeked) else after or ""
        if not (_LOG_CURSOR if state in ("dead", "done") else _CURSOR).fullmatch(cursor):
            raise ConfigError(f"{cursor!r:.50} is no cursor of a page of {state}", queue=name)
        position = int(cursor) if cursor.isdecimal() else 0
        return commands.peek(self._parts.keys, state=state, limit=n, after=cursor), position

    def _peeked(
        self, state: State, items: list[tuple[bytes, ...]], position: int
    ) -> list[Peeked[T]]:
        return [
            peeked(self._parts.codec, state, item, at)
            for at, item in enumerate(items, position + 1)
        ]

    def find(self, message_id: str, *, limit: int = 100_000) -> Peeked[T] | None:
        """Look for a message by its id, without taking it; ``None`` where it is not found.

        Dead letters have an index. Everything else is walked in Redis, 1,000 messages a round
        trip, and at most ``limit`` of each state, those next in turn. A message that moves
        meanwhile from one state to another may be missed.

        Example:
            >>> from typed_rmq import Queue
            >>> numbers = Queue[int]("doc-find")
            >>> receipt = numbers.publish(4)
            >>> seen = numbers.find(receipt.id)
            >>> seen and (seen.state, seen.payload)
            ('ready', 4)
        """
        search = _Search(message_id, limit)
        for state in search:
            reply = self._parts.sync.call(lambda _: self._find(search))
            search.note(reply)
            if reply.found:
                return peeked(self._parts.codec, state, reply.found[0])
        return None

    async def afind(self, message_id: str, *, limit: int = 100_000) -> Peeked[T] | None:
        """``find`` for asyncio."""
        search = _Search(message_id, limit)
        for state in search:
            reply = await self._parts.backend().call(lambda _: self._find(search))
            search.note(reply)
            if reply.found:
                return peeked(self._parts.codec, state, reply.found[0])
        return None

    def _find(self, search: _Search) -> Command[FindReply]:
        return lookups.find(
            self._parts.keys,
            state=search.state,
            message_id=search.message_id,
            after=search.after,
            limit=MAX_BATCH,
        )

    def consumers(self) -> list[ConsumerInfo]:
        """The consumer sessions that are registered: where they run, and what they hold.

        At most 1,000, those whose lease ends first. A consumer is registered from its first
        request until it ends; one that crashed is until another one gives back what it held.
        """
        return [consumer_info(one) for one in self._parts.sync.call(lambda _: self._consumers())]

    async def aconsumers(self) -> list[ConsumerInfo]:
        """``consumers`` for asyncio."""
        found = await self._parts.backend().call(lambda _: self._consumers())
        return [consumer_info(one) for one in found]

    def _consumers(self) -> Command[list[SessionReply]]:
        return lookups.consumers(self._parts.keys, limit=MAX_BATCH, some=SHOWN_IDS)

    @property
    def dead(self) -> DeadLetters[T]:
        """The dead letters."""
        return self._parts.dead


class _Search:
    """Where ``find`` is: yields each state as often as there is more to look at."""

    def __init__(self, message_id: str, limit: int) -> None:
        self.message_id = message_id
        self.state: State = "dead"
        self.after = ""
        self._limit = limit

    def note(self, reply: FindReply) -> None:
        self.after = reply.after

    def __iter__(self) -> Iterator[State]:
        for self.state in SEARCHED:
            self.after = ""
            for _ in range(0, self._limit, MAX_BATCH):
                yield self.state
                if not self.after:
                    break
