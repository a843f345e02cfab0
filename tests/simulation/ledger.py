"""What must be true of a queue, kept beside it: each call that Redis has done is booked here.

The simulation lets one call happen at a time, so the ledger knows the one right answer to it, and
where every message must lie afterwards. It sees an answer also where the client never does.
Anything else is a ``Violation``.

The promises that it watches, those of section "Invariants" of ``docs/protocol.md``:

- a message lies in exactly one place, and its envelope is byte for byte what it must be;
- a delivery's number grows, and only a verdict of the present one takes effect, once;
- nothing is delivered after an ack, before its time, beyond its attempts, or beside a suspect;
- within its window a key has one message; a repeated call is answered, and a late one refused;
- counters equal contents; a session that holds something is known.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from typed_rmq.commands import CycleReply, PublishReply, ReapReply
from typed_rmq.producer import Batch, PublishOptions
from typed_rmq.steps import Cycle

__all__ = ["Call", "Entry", "Ledger", "Violation", "ensure"]

WAITING = ("ready", "suspect", "delayed")


class Violation(AssertionError):
    """A promise is broken."""


def ensure(condition: object, what: str, *details: object) -> None:
    if not condition:
        raise Violation(": ".join([what, *map(repr, details)]))


@dataclass
class Call:
    """A call as it is sent, also again and again.

    Attributes:
        kind: the script's purpose, such as ``cycle``.
        lane: whose number ``n`` is; empty where the call has none.
        body: what the caller knows of it: a ``Cycle``, a batch with its options, a session.
    """

    kind: str
    command: Any
    lane: bytes = b""
    n: int = 0
    body: Any = None


@dataclass
class Entry:
    """A message that was stored."""

    id: bytes
    start: bytes
    tail: bytes
    key: bytes | None
    until_done: bool
    where: str = "ready"
    delivery: int = 1
    attempt: int = 1
    suspect: bool = False
    due: int = 0
    session: bytes = b""

    @property
    def envelope(self) -> bytes:
        flag = b"s" if self.suspect else b"-"
        head = b"%b%b%b%04d%b%b:%06d" % (
            *(self.start[:15], flag, self.start[16:17], self.attempt),
            *(self.start[21:25], self.id, self.delivery),
        )
        return head + self.tail

    @property
    def fence(self) -> bytes:
        return b"%b:%06d" % (self.id, self.delivery)


@dataclass
class Holder:
    """Who has a dedup key: a message's id, and until when."""

    id: bytes
    until: int | None


@dataclass
class Ledger:
    """See the module's text."""

    max_attempts: int
    lease_ms: int
    window_ms: int
    max_length: int
    entries: dict[bytes, Entry] = field(default_factory=dict)
    live: dict[bytes, Entry] = field(default_factory=dict)
    held: dict[bytes, dict[bytes, Entry]] = field(default_factory=dict)
    sessions: dict[bytes, int] = field(default_factory=dict)
    lanes: dict[bytes, tuple[int, Any]] = field(default_factory=dict)
    keys: dict[bytes, Holder] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    refused: set[bytes] = field(default_factory=set)
    truth: dict[tuple[bytes, int], frozenset[bytes]] = field(default_factory=dict)
    paused: bool = False
    deliveries: int = 0

    # --- booking what Redis has done

    def executed(self, call: Call, reply: Any, now: int) -> None:
        """This call was done at this moment, with this answer."""
        expected = self._expected(call)
        if expected is not None:
            status = "new" if reply.status == "short" else reply.status
            ensure(
                status == expected,
                f"a {call.kind} numbered {call.n} must be {expected!r}",
                reply.status,
            )
            ensure(reply.lost == 0, "nothing was lost, and Redis says so", reply.lost)
        book = getattr(self, f"_{call.kind}")
        book(call, reply, now)

    def _expected(self, call: Call) -> str | None:
        if call.kind not in ("publish", "cycle"):
            return None
        return self.standing(call)

    def standing(self, call: Call) -> str:
        """What a numbered call is: new, again, or old."""
        last = self.lanes[call.lane][0] if call.lane in self.lanes else 0
        return "new" if call.n > last else "again" if call.n == last else "old"

    def waiting(self) -> list[Entry]:
        return [one for one in self.live.values() if one.where in WAITING]

    def leave(self, entry: Entry, where: str) -> None:
        """It waits no more and is in nobody's hands."""
        entry.where = where
        self.live.pop(entry.id, None)
        if where in ("dead", "dropped", "purged") or entry.until_done:
            self._free(entry)

    def holder(self, key: bytes, now: int) -> bytes | None:
        found = self.keys.get(key)
        if found is None or (found.until is not None and found.until <= now):
            return None
        return found.id

    def _free(self, entry: Entry) -> None:
        if entry.key is not None:
            found = self.keys.get(entry.key)
            if found is not None and found.id == entry.id:
                del self.keys[entry.key]

    # --- publish

    def _publish(self, call: Call, reply: PublishReply, now: int) -> None:
        standing = self.standing(call)
        if standing == "again":
            ensure(reply.answer == self.lanes[call.lane][1], "a repeat gets the first answer")
        if standing != "new":
            return
        self.lanes[call.lane] = (call.n, reply.answer)
        batch: Batch = call.body[0]
        options: PublishOptions = call.body[1]
        due = now + options.delay_ms if options.delay_ms else 0
        new, answers = self._fresh(batch, now, due)
        before = len(self.waiting())
        if reply.answer == "full":
            ensure(self.max_length and before + len(new) > self.max_length, "it was not full")
            return
        dropped = [one for one in reply.answer.split(",") if one.startswith("-")]
        told = [one for one in reply.answer.split(",") if one and not one.startswith("-")]
        ensure(told == answers, "duplicates are told as they are", told, answers)
        for text in dropped:
            victim = self.entries.get(text[1:].encode())
            ensure(victim is not None and victim.where in WAITING, "dropped what did not wait")
            assert victim is not None
            self.leave(victim, "dropped")
            self.counters["dropped"] += 1
        for entry in new:
            ensure(entry.id not in self.refused, "stored, though its publisher was refused")
            self.entries[entry.id] = self.live[entry.id] = entry
            if entry.key is not None:
                until = None if entry.until_done else now + self.window_ms
                self.keys[entry.key] = Holder(entry.id, until)
        self.counters["published"] += len(new)
        self.counters["duplicates"] += len(answers)
        if self.max_length and new:
            left = len(self.waiting())
            # What came back from a crash waits apart, and is not dropped.
            older = {"ready", "delayed"} & {e.where for e in self.waiting() if e not in new}
            fits = left <= max(self.max_length, len(new))
            ensure(fits or not older, "more wait than the bound allows", left)
            ensure(not dropped or left >= min(self.max_length, before), "more went than had to")

    def _fresh(self, batch: Batch, now: int, due: int) -> tuple[list[Entry], list[str]]:
        """The messages of a batch that are new, and what must be said of the others."""
        new: list[Entry] = []
        answers: list[str] = []
        taken: dict[bytes, Entry] = {}
        for index, e in enumerate(batch.envelopes):
            identity, mode = e[11:35], e[2:3]
            ensure(identity not in self.entries, "stored twice", identity)
            key = None if mode == b"-" else e[42:64]
            entry = Entry(
                id=identity,
                start=b"1%013d" % now + e,
                tail=e[42:],
                key=key,
                until_done=mode in (b"d", b"D"),
                where="delayed" if due > now else "ready",
                due=due,
            )
            if key is None:
                new.append(entry)
                continue
            first = taken.get(key) or self.entries.get(self.holder(key, now) or b"")
            if first is None:
                taken[key] = entry
                new.append(entry)
                continue
            differs = mode in (b"W", b"D") and first.tail[22:44] != e[64:86]
            answers.append(f"{index}{'!' if differs else '='}{first.id.decode()}")
        return new, answers

    # --- cycle

    def _cycle(self, call: Call, reply: CycleReply, now: int) -> None:
        request: Cycle = call.body
        session, held = request.session, self.held.setdefault(request.session, {})
        standing = self.standing(call)
        if standing == "old":
            return
        alive = session in self.sessions
        if standing == "again":
            ensure(
                Counter(reply.envelopes) == Counter(one.envelope for one in held.values()),
                "a repeated call gets all that its session holds",
            )
            self._same_stale(request, reply)
            ensure(reply.reaped or alive or request.closing, "it was not told that it was reaped")
            if alive:
                self.sessions[session] = now + self.lease_ms
            return
        reaped = not alive and call.n > 1 and not held
        if reply.status == "short":
            ensure(alive, "the short way was open to a session that Redis does not know", session)
            ensure(not reply.stale, "the short way has no stale verdicts")
        else:
            ensure(reply.reaped == reaped, "whether it was reaped", reply.reaped, reaped)
        stale = self._settle(request, held, now)
        self.lanes[call.lane] = (call.n, None)
        self.truth[session, call.n] = frozenset(stale)
        if reply.status != "short":
            self._same_stale(request, reply)
        self._claim(request, reply, held, reaped, now)
        if request.closing and not held:
            self.sessions.pop(session, None)
        elif not reaped and reply.status != "short":
            self.sessions[session] = now + self.lease_ms

    def _same_stale(self, request: Cycle, reply: CycleReply) -> None:
        truth = self.truth[request.session, request.n]
        ensure(frozenset(reply.stale) == truth, "which verdicts came too late", reply.stale, truth)

    def _settle(self, request: Cycle, held: dict[bytes, Entry], now: int) -> list[bytes]:
        stale: list[bytes] = []
        acks: list[tuple[bytes, bytes, Any]] = [(b"a", one, None) for one in request.acks]
        for kind, fence, a in acks + [(v.kind, v.field, v.a) for v in request.verdicts]:
            entry = held.pop(fence, None)
            if entry is None:
                stale.append(fence)
                continue
            entry.session = b""
            if kind == b"a":
                self.counters["completed"] += 1
                self.leave(entry, "done")
            elif kind == b"r":
                self.counters["failed"] += 1
                self.counters["retried"] += 1
                entry.attempt += 1
                entry.delivery += 1
                entry.suspect = False
                entry.where, entry.due = ("delayed", now + a) if a > 0 else ("ready", 0)
            elif kind == b"R":
                self.counters["released"] += 1
                entry.delivery += 1
                entry.where = "suspect" if entry.suspect else "ready"
            else:
                self.counters["failed"] += 1
                self.counters["dead_lettered"] += 1
                self.leave(entry, "dead")
        self.counters["stale"] += len(stale)
        return stale

    def _claim(
        self,
        request: Cycle,
        reply: CycleReply,
        held: dict[bytes, Entry],
        reaped: bool,
        now: int,
    ) -> None:
        open_to = request.want > 0 and not (self.paused or reaped or request.closing)
        if open_to and reply.status != "short":
            for entry in self.live.values():
                if entry.where == "delayed" and entry.due <= now:
                    entry.where = "ready"
        ensure(open_to or not reply.envelopes, "claimed what must not be claimed")
        ensure(len(reply.envelopes) <= request.want, "claimed more than was asked for")
        suspects = any(one.where == "suspect" for one in self.live.values())
        alone = len(reply.envelopes) == 1 and not held
        for envelope in reply.envelopes:
            known = self.entries.get(envelope[25:49])
            if known is None:
                raise Violation(f"delivered what nobody has stored: {envelope[:56]!r}")
            entry = known
            ensure(
                entry.where in ("ready", "suspect"),
                f"delivered while it was {entry.where}",
                entry.fence,
                entry.session,
            )
            ensure(envelope == entry.envelope, "not what was stored", envelope, entry.envelope)
            ensure(entry.attempt <= self.max_attempts, "delivered too often", entry.fence)
            ensure(entry.where == "suspect" if suspects else True, "a suspect was passed over")
            ensure(not entry.suspect or alone, "a suspect is not alone", entry.fence)
            entry.where, entry.session = "held", request.session
            held[entry.fence] = entry
            self.deliveries += 1
        ensure(
            len(held) <= 1 or not any(one.suspect for one in held.values()),
            "a suspect is held beside others",
        )

    # --- leases

    def _renew(self, call: Call, alive: bool, now: int) -> None:
        ensure(alive == (call.body in self.sessions), "whether the session is known", call.body)
        if alive:
            self.sessions[call.body] = now + self.lease_ms

    def _reap(self, call: Call, reply: ReapReply, now: int) -> None:
        session = call.body
        deadline = self.sessions.get(session)
        state = "gone" if deadline is None else "renewed" if deadline > now else "reaped"
        ensure(reply.state == state, "a lease that has run out is reaped, no other", state, reply)
        if state != "reaped":
            return
        del self.sessions[session]
        held = list(self.held.pop(session, {}).values())
        for entry in held:
            entry.session = b""
            if len(held) == 1:
                self.counters["failed"] += 1
                if entry.attempt >= self.max_attempts:
                    self.counters["dead_lettered"] += 1
                    self.leave(entry, "dead")
                    continue
                self.counters["retried"] += 1
                entry.attempt += 1
            entry.where, entry.suspect = "suspect", True
            entry.delivery += 1

    # --- administration

    def _control(self, call: Call, status: str, now: int) -> None:
        standing = self.standing(call)
        ensure(status == standing, f"a control must be {standing!r}", status)
        if standing == "new":
            self.lanes[call.lane] = (call.n, None)
            self.paused = call.body

    def _purge(self, call: Call, reply: tuple[Any, set[bytes]], now: int) -> None:
        """Its second half: the ids that wait now."""
        answer, left = reply
        standing = self.standing(call)
        ensure(answer.status == standing, f"a purge must be {standing!r}", answer.status)
        gone = [one for one in self.waiting() if one.id not in left]
        ensure(standing == "new" or not gone, "a repeated purge has purged")
        if standing == "new":
            self.lanes[call.lane] = (call.n, None)
            ensure(len(gone) == answer.deleted, "it has told of another number", answer)
            self.counters["purged"] += len(gone)
            for entry in gone:
                self.leave(entry, "purged")

    def _dead_purge(self, call: Call, deleted: int, now: int) -> None:
        if self.standing(call) != "new":
            return
        self.lanes[call.lane] = (call.n, None)
        gone = [one for one in self.entries.values() if one.where == "dead"]
        ensure(len(gone) == deleted, "it has told of another number", deleted)
        self.counters["purged"] += len(gone)
        for entry in gone:
            self.leave(entry, "purged")

    def _redrive(self, call: Call, reply: tuple[Any, set[bytes]], now: int) -> None:
        """Its second half: the ids that are dead still."""
        answer, left = reply
        moved = [e for e in self.entries.values() if e.where == "dead" and e.id not in left]
        if self.standing(call) != "new":
            ensure(not moved, "a repeated redrive has redriven")
            return
        self.lanes[call.lane] = (call.n, None)
        ensure(len(moved) == answer.redriven, "it has told of another number", answer)
        for entry in moved:
            if entry.key is not None:
                holder = self.holder(entry.key, now)
                ensure(holder is None, "redriven beside another with its key", entry.id, holder)
                if entry.until_done or self.window_ms:
                    until = None if entry.until_done else now + self.window_ms
                    self.keys[entry.key] = Holder(entry.id, until)
            self.live[entry.id] = entry
            entry.where, entry.attempt, entry.suspect, entry.due = "ready", 1, False, 0
            entry.delivery += 1
