"""What operators use: looking at a queue, and steering it."""

from __future__ import annotations

from functools import partial
from typing import Generic, TypeVar

from . import commands
from .commands import Command
from .deadletters import DeadLetters
from .errors import ConfigError
from .parts import Parts
from .producer import MAX_BATCH, Lane
from .reading import peeked, queue_stats
from .results import Peeked, QueueStats, State

T = TypeVar("T")

__all__ = ["Steering"]


class Steering(Generic[T]):
    """What operators use; part of ``Queue``."""

    _parts: Parts[T]

    def stats(self) -> QueueStats:
        """The queue's contents and counters at one moment."""
        return queue_stats(self._parts.sync.call(lambda _: commands.stats(self._parts.keys)))

    async def astats(self) -> QueueStats:
        """``stats`` for asyncio."""
        return queue_stats(
            await self._parts.backend().call(lambda _: commands.stats(self._parts.keys))
        )

    def peek(self, n: int = 10, state: State = "ready") -> list[Peeked[T]]:
        """Look at up to ``n`` (1 to 1,000) messages without taking them.

        Ready and delayed ones come in the order of their delivery, dead and done ones the newest
        first.
        """
        command = self._peek(n, state)
        return [
            peeked(self._parts.codec, state, item)
            for item in self._parts.sync.call(lambda _: command)
        ]

    async def apeek(self, n: int = 10, state: State = "ready") -> list[Peeked[T]]:
        """``peek`` for asyncio."""
        command = self._peek(n, state)
        items = await self._parts.backend().call(lambda _: command)
        return [peeked(self._parts.codec, state, item) for item in items]

    def _peek(self, n: int, state: State) -> Command[list[tuple[bytes, ...]]]:
        if not isinstance(n, int) or not 1 <= n <= MAX_BATCH:
            raise ConfigError(f"n must be 1 to {MAX_BATCH}, got {n!r}", queue=self._parts.keys.name)
        if state not in ("ready", "delayed", "in_flight", "dead", "done"):
            raise ConfigError(
                f"{state!r:.50} is no state of a message", queue=self._parts.keys.name
            )
        return commands.peek(self._parts.keys, state=state, limit=n)

    @property
    def dead(self) -> DeadLetters[T]:
        """The dead letters."""
        return self._parts.dead

    def purge(self) -> int:
        """Delete ready and delayed messages and free their dedup keys; returns how many.

        What consumers hold is not touched, nor what is published meanwhile beyond the number of
        messages at the beginning.
        """
        total, left = 0, None
        while left is None or left > 0:
            reply = self._parts.sync.call(partial(self._purge, left))
            total += reply.deleted
            if reply.deleted == 0:
                break
            left = reply.left if left is None else left - reply.deleted
        return total

    async def apurge(self) -> int:
        """``purge`` for asyncio."""
        total, left = 0, None
        while left is None or left > 0:
            reply = await self._parts.backend().call(partial(self._purge, left))
            total += reply.deleted
            if reply.deleted == 0:
                break
            left = reply.left if left is None else left - reply.deleted
        return total

    def _purge(self, left: int | None, lane: Lane) -> Command[commands.PurgeReply]:
        limit = MAX_BATCH if left is None else min(left, MAX_BATCH)
        return commands.purge(
            self._parts.keys, self._parts.keys.lane(lane.token), lane.next_number(), limit=limit
        )

    def pause(self) -> None:
        """Consumers take nothing more until ``resume``; what they hold they finish."""
        self._parts.sync.call(lambda lane: self._control(lane, paused=True))

    def resume(self) -> None:
        """Consumers go on."""
        self._parts.sync.call(lambda lane: self._control(lane, paused=False))

    async def apause(self) -> None:
        """``pause`` for asyncio."""
        await self._parts.backend().call(lambda lane: self._control(lane, paused=True))

    async def aresume(self) -> None:
        """``resume`` for asyncio."""
        await self._parts.backend().call(lambda lane: self._control(lane, paused=False))

    def _control(self, lane: Lane, *, paused: bool) -> Command[str]:
        return commands.control(
            self._parts.keys, self._parts.keys.lane(lane.token), lane.next_number(), paused=paused
        )
