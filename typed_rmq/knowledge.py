"""What a consumer knows of Redis: its session, its lease, what is due, and whose lease has run out.

It is learned from replies, and ``core.py`` decides by it what to do next. Two of the core's rules
are kept here: a session that was reaped is never taken up again (2), and another's is reaped only
after it was seen expired twice on one connection, a grace apart (7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from . import wire
from .commands import CycleReply
from .deliveries import AHEAD, SUSPECT, Decoder, Deliveries, Report
from .hands import drained
from .message import Owner
from .steps import Cycle, Plan

T = TypeVar("T")

__all__ = ["Knowledge"]

_FIELD = wire.FIELD


class Knowledge(Deliveries[T]):
    """See the module's text."""

    lease_until: float

    def __init__(
        self,
        plan: Plan,
        decoder: Decoder[T],
        owner: Owner,
        report: Report,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(plan, decoder, owner, report, clock)
        self.plan = plan
        self.session: bytes | None = None
        self.renewed_at: float = 0.0
        self._told_of = (b"", 0)
        self._answered = 0
        self._sent_at = 0.0
        # Until then the short way will do: the lease is fresh, and no other's has run out.
        self._long_at = 0.0
        # Whether the batch was claimed while the one before was being handled, and where the
        # time that a batch takes is counted from.
        self._ahead = False
        self._mark_at = 0.0
        self._marked = 0
        self._empty = False
        self._drain = False
        self._due: float | None = None
        self._idle_since: float | None = None
        self._expired: dict[bytes, float] = {}
        self._to_reap: deque[bytes] = deque()

    def on_reply(self, request: Cycle, reply: CycleReply, now: float) -> None:
        """Redis's answer to the open request."""
        if self._open is not request:
            return
        self._answered = request.n
        self._open = None
        if reply.status == "short":
            self._report.settled(request, (), now - self._sent_at)
            self._received(reply.envelopes, now)
            return
        if reply.status == "old":
            # Only a lane that somebody else moved on can answer so: start afresh.
            self._abandon_session()
            return
        self._report.settled(request, reply.stale, now - self._sent_at)
        self._remember_lost(reply.stale)
        told = reply.told
        lost = self._report.forgotten(told, gone=reply.reaped) if told else reply.lost
        if reply.reaped:
            self._abandon_session()
        else:
            self._learn(request, reply, now)
        # The answer to a number may be asked for again; its loss is told once.
        if lost and self._told_of != (request.session, request.n):
            self._told_of = (request.session, request.n)
            self._report.data_loss(lost)

    def _learn(self, request: Cycle, reply: CycleReply, now: float) -> None:
        """What Redis says about messages, times, and sessions, by the long way."""
        self._held_lease(self._sent_at, now)
        if reply.status == "new":
            fresh = reply.envelopes
        else:
            fresh = self._resynchronize(reply)
        if fresh:
            self._received(fresh, now)
            if len(fresh) == 1 and fresh[0][15] == SUSPECT:
                self._suspect = fresh[0][_FIELD]
        elif request.want and reply.status == "new" and reply.wait != 0:
            self._empty = True
            if self._idle_since is None:
                self._idle_since = now
        self._drain = reply.drain
        self._due = None if reply.wait is None else now + reply.wait
        if request.want:
            # Verdicts may go over another connection, which says nothing about an outage of the
            # one that sessions are watched on.
            self._note_expired(reply.expired, now)
            # The short way sees no sessions: they are watched once a grace, all the time where one
            # has run out.
            self._long_at = now if self._expired else now + self.plan.grace
        if request.closing:
            self.session = None

    def _received(self, fresh: list[bytes], now: float) -> None:
        self._buffer.extend(fresh)
        self._batch_at = now
        if not self._ahead:
            self._mark_at, self._marked = now, self._delivered
        batch = len(self._buffer)
        self._low_at = min(batch, self.prefetch.size // 2) - 1 if batch >= AHEAD else -1
        self._idle_since = None
        self._report.claimed(fresh, now - self._sent_at)

    def _resynchronize(self, reply: CycleReply) -> list[bytes]:
        """After a repeated or a lost call, Redis's view of what this session holds counts."""
        theirs = {envelope[_FIELD]: envelope for envelope in reply.envelopes}
        mine = {envelope[_FIELD] for envelope in self._buffer}
        mine.update(list(self._hands))
        mine.update(list(self._acks))
        mine.update(verdict.field for verdict in list(self._verdicts))
        if reply.status == "lost":
            self._forget([field for field in mine if field not in theirs])
        return [envelope for field, envelope in theirs.items() if field not in mine]

    def _forget(self, gone: list[bytes]) -> None:
        """These are no longer ours, so nothing more is done about them."""
        fields = set(gone)
        if not fields:
            return
        self._remember_lost(fields)
        for field in fields:
            self._hands.pop(field, None)
            if self._since is not None:
                self._since.pop(field, None)
            self._no_suspect(field)
        kept = [e for e in drained(self._buffer) if e[_FIELD] not in fields]
        self._buffer.extend(kept)
        self._report.lease_lost(sorted(fields))

    def _abandon_session(self) -> None:
        """The session was reaped: what it held belongs to others."""
        self.session = None
        self._answered = 0
        self.lease_until = 0.0
        self._empty = False
        fields = [envelope[_FIELD] for envelope in drained(self._buffer)]
        fields.extend(list(self._hands))
        self._forget(fields)

    def _held_lease(self, sent_at: float, now: float) -> None:
        # Redis renewed it at some time between: the lease counts from the earliest, the next
        # renewal from the latest, as a call behind a long wait may have been sent long ago.
        self.renewed_at = now
        self.lease_until = sent_at + self.plan.lease_in_redis

    def _note_expired(self, expired: tuple[bytes, ...], now: float) -> None:
        seen = {session: self._expired.get(session, now) for session in expired}
        for session, since in list(seen.items()):
            if now - since >= self.plan.grace:
                self._to_reap.append(session)
                del seen[session]
        self._expired = seen

    def on_renewed(self, session: bytes, sent_at: float, now: float, *, alive: bool) -> None:
        """The answer to a renewal beside the lane; from any thread."""
        # Two at once do no harm: either lease was granted, and one that is believed to be lost
        # only sends back what was not started.
        if session != self.session:
            return
        if alive:
            self._held_lease(sent_at, now)
        else:
            self.renewed_at = now  # to ask again at once would not help
            self.lease_until = 0.0

    def on_reconnect(self) -> None:
        """After an outage everybody's lease has run out: let their owners come back first."""
        self._expired.clear()
        self._to_reap.clear()
