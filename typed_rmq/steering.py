"""What operators use to steer a queue: purge, promote, pause, and resume."""

from __future__ import annotations

from functools import partial
from typing import Final, Generic, TypeVar

from . import commands
from .commands import Command
from .parts import Parts
from .producer import MAX_BATCH, Lane

T = TypeVar("T")

__all__ = ["Steering"]

PURGE: Final = 250
"""Messages that one call deletes: some three milliseconds of Redis, in which nobody else has a
turn."""


class Steering(Generic[T]):
    """What operators use to steer; part of ``Queue``."""

    _parts: Parts[T]

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
        limit = PURGE if left is None else min(left, PURGE)
        return commands.purge(
            self._parts.keys, self._parts.keys.lane(lane.token), lane.next_number(), limit=limit
        )

    def promote(self, *message_ids: str) -> int:
        """Make delayed messages ready before their time, retries included; returns how many.

        Without ids: all that are delayed when it begins. An id that is not delayed is passed over.
        Those that are given are looked for in all that is delayed, 1,000 a round trip.

        Example:
            >>> from typed_rmq import Queue
            >>> numbers = Queue[int]("doc-promote")
            >>> receipt = numbers.publish(1, delay=3600)
            >>> numbers.promote(receipt.id)
            1
            >>> numbers.stats().ready
            1
        """
        walk = _Promotion(message_ids)
        while walk.goes_on:
            walk.note(self._parts.sync.call(partial(self._promote, walk)))
        return walk.total

    async def apromote(self, *message_ids: str) -> int:
        """``promote`` for asyncio."""
        walk = _Promotion(message_ids)
        while walk.goes_on:
            walk.note(await self._parts.backend().call(partial(self._promote, walk)))
        return walk.total

    def _promote(self, walk: _Promotion, lane: Lane) -> Command[commands.PromoteReply]:
        return commands.promote(
            self._parts.keys,
            self._parts.keys.lane(lane.token),
            lane.next_number(),
            skip=walk.skip,
            limit=MAX_BATCH,
            ids=walk.ids,
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


class _Promotion:
    """Where ``promote`` is in the delayed messages."""

    def __init__(self, message_ids: tuple[str, ...]) -> None:
        self._chunks = [
            message_ids[at : at + MAX_BATCH] for at in range(0, len(message_ids), MAX_BATCH)
        ]
        self.ids: tuple[str, ...] = self._chunks.pop(0) if self._chunks else ()
        self._missing = len(self.ids)
        self.skip = 0
        self.total = 0
        self.goes_on = True

    def note(self, reply: commands.PromoteReply) -> None:
        """Count, and find out where to go on."""
        self.total += reply.promoted
        self.skip += reply.seen - reply.promoted
        self._missing -= reply.promoted
        if reply.seen == MAX_BATCH and (self._missing > 0 or not self.ids):
            return
        if self._chunks:
            self.ids, self.skip = self._chunks.pop(0), 0
            self._missing = len(self.ids)
        else:
            self.goes_on = False
