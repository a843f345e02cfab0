"""What operators use to check a queue and its server: the doctor and the audit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Final, Generic, TypeVar, cast

from . import commands, lookups
from .auditing import Auditor
from .commands import Command
from .doctor import QUESTIONS, WORDS, Facts, diagnose
from .drivers.failures import Refused
from .errors import ConfigError, QueueCorrupt
from .findings import Audit, Finding
from .keys import QueueKeys
from .lookups import AuditReply
from .parts import Parts
from .producer import MAX_BATCH, Lane

T = TypeVar("T")

__all__ = ["Checking"]

MAX_PAGES: Final = 1_000
"""Pages of Redis's key space, 1,000 keys each, in which an audit looks for orphans."""


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

    def audit(self, *, limit: int = 5_000) -> Audit:
        """Check that every message is in exactly one place, and that the counters agree.

        Up to ``limit`` messages are looked at in one atomic call, which takes about two
        microseconds of Redis's time for each. Larger queues are walked 1,000 messages a call: then
        each call is a snapshot of its own, and what can only be said of one moment is left out.
        It writes nothing, and a queue at work may be audited.

        Foreign keys that look like those of a consumer are searched for in Redis's whole key
        space, as far as the user may ``SCAN`` it.

        Raises:
            ConfigError: ``limit`` is not 1 to 100,000.
            QueueUnavailable: Redis did not answer.

        Example:
            >>> from typed_rmq import Queue
            >>> numbers = Queue[int]("doc-audit")
            >>> _ = numbers.publish_many([1, 2, 3])
            >>> found = numbers.audit()
            >>> found.clean, found.messages, found.steps
            (True, 3, 1)
        """
        backend, keys = self._parts.sync, self._parts.keys
        auditor = Auditor(keys, _limit(limit, keys.name))
        for command in auditor.commands():
            auditor.note(backend.call(partial(_this, command)))
        cursor: bytes | None = b"0"
        for _ in range(MAX_PAGES):
            [page] = backend.ask(("SCAN", cursor or b"0", *_pattern(keys)))
            cursor, found = _page(page)
            for key in found:
                _judge(auditor, key, backend.ask(*_questions(keys, key)))
            if not cursor:
                break
        _end(auditor, cursor)
        return auditor.result()

    async def aaudit(self, *, limit: int = 5_000) -> Audit:
        """``audit`` for asyncio."""
        backend, keys = self._parts.backend(), self._parts.keys
        auditor = Auditor(keys, _limit(limit, keys.name))
        for command in auditor.commands():
            auditor.note(await backend.call(partial(_this, command)))
        cursor: bytes | None = b"0"
        for _ in range(MAX_PAGES):
            [page] = await backend.ask(("SCAN", cursor or b"0", *_pattern(keys)))
            cursor, found = _page(page)
            for key in found:
                _judge(auditor, key, await backend.ask(*_questions(keys, key)))
            if not cursor:
                break
        _end(auditor, cursor)
        return auditor.result()


def _this(command: Command[AuditReply], lane: Lane) -> Command[AuditReply]:
    del lane  # nothing is written
    return command


def _limit(limit: int, queue: str) -> int:
    if not isinstance(limit, int) or not 1 <= limit <= 100_000:
        raise ConfigError(f"limit must be 1 to 100,000 messages, got {limit!r:.50}", queue=queue)
    return limit


def _pattern(keys: QueueKeys) -> tuple[str | bytes | int, ...]:
    return ("MATCH", keys.inflight(b"*"), "COUNT", 1_000)


def _page(reply: object) -> tuple[bytes | None, list[bytes]]:
    """Where to go on and what was found; ``None`` where it was refused, "" at the end."""
    if isinstance(reply, Refused):
        return None, []
    cursor, found = cast("tuple[bytes, list[bytes]]", reply)
    return (b"" if cursor == b"0" else cursor), found


def _questions(keys: QueueKeys, key: bytes) -> list[Sequence[str | bytes | int]]:
    """Held before and after the session was looked for: a consumer that ends drops both at once."""
    session = key[len(keys.inflight(b"")) :]
    return [("HLEN", key), ("ZSCORE", keys.sessions, session), ("HLEN", key)]


def _judge(auditor: Auditor, key: bytes, answers: list[object]) -> None:
    before, deadline, after = answers
    if deadline is None and isinstance(before, int) and isinstance(after, int) and before and after:
        auditor.orphan(key.decode("utf-8", "backslashreplace"), after)


def _end(auditor: Auditor, cursor: bytes | None) -> None:
    if cursor is None:
        auditor.unsearched("this user may not SCAN, so orphans were not looked for")
    elif cursor:
        auditor.unsearched("orphans were looked for in a million keys of this Redis, no further")
