"""What operators use to check a queue and its server: the doctor and the audit."""

from __future__ import annotations

import time
from typing import Generic, TypeVar

from . import commands, lookups
from .doctor import QUESTIONS, WORDS, Facts, diagnose
from .errors import QueueCorrupt
from .findings import Finding
from .parts import Parts
from .producer import MAX_BATCH

T = TypeVar("T")

__all__ = ["Checking"]


class Checking(Generic[T]):
    """What operators use to check; part of ``Queue``."""

    _parts: Parts[T]

    def doctor(self) -> list[Finding]:
        """Check the server and the queue, and say what to do about each thing that is found.

        Looked at: the server's version, persistence, eviction policy, memory, and replicas, how
        its clock differs from this machine's, this user's rights, the script cache, the types of
        the queue's keys, consumers, sessions that have outlived their lease, and the age of the
        oldest message. What the user may not ask is a finding as well, of level ``"info"``. It
        writes nothing and costs about ten round trips.

        Raises:
            QueueUnavailable: Redis did not answer.

        Example:
            >>> from typed_rmq import Queue
            >>> found = Queue[int]("doc-doctor").doctor()
            >>> [one.level for one in found if one.topic in ("version", "rights", "keys")]
            ['ok', 'ok', 'ok']
        """
        backend, keys = self._parts.sync, self._parts.keys
        checkup = backend.call(lambda _: lookups.checkup(keys, words=WORDS))
        asked_at = time.time()
        moment = backend.ask(QUESTIONS[0])
        answered_at = time.time()
        rest = backend.ask(*QUESTIONS[1:])
        stats, sessions = None, []
        try:
            stats = backend.call(lambda _: commands.stats(keys))
            sessions = backend.call(lambda _: lookups.consumers(keys, limit=MAX_BATCH, some=0))
        except QueueCorrupt:
            pass  # the checkup has found which keys
        return diagnose(Facts(checkup, asked_at, answered_at, moment + rest, stats, sessions))

    async def adoctor(self) -> list[Finding]:
        """``doctor`` for asyncio."""
        backend, keys = self._parts.backend(), self._parts.keys
        checkup = await backend.call(lambda _: lookups.checkup(keys, words=WORDS))
        asked_at = time.time()
        moment = await backend.ask(QUESTIONS[0])
        answered_at = time.time()
        rest = await backend.ask(*QUESTIONS[1:])
        stats, sessions = None, []
        try:
            stats = await backend.call(lambda _: commands.stats(keys))
            sessions = await backend.call(
                lambda _: lookups.consumers(keys, limit=MAX_BATCH, some=0)
            )
        except QueueCorrupt:
            pass  # the checkup has found which keys
        return diagnose(Facts(checkup, asked_at, answered_at, moment + rest, stats, sessions))
