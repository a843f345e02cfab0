"""Producers, consumers, and a network between them and Redis that may do anything with a call.

A caller (a producer, an administrator) works through its list of calls, one in flight at a time. A
consumer claims, decides about what it holds, and sends its decisions with its next call. A call
that was sent stays open until it was answered; every order of sending, arriving, and deciding is
tried. Beyond that, as often as the budget says:

* ``reply``: Redis did it, and the answer got lost. The call stays open.
* ``late``: the call hangs in the network and is repeated; the copy arrives at any later time.
* ``give up``: a caller's retry budget ends. Its application publishes the same payload again.
* ``release``: a consumer gives a message back; it is not counted, so there must be a bound.
* ``crash``, ``expire``: a consumer dies; one that lives is silent until its lease has run out.
* ``fork``, ``close``: a consumer is copied; one gives back what it has not started, and goes.
* ``rollback``: from some moment on nothing is replicated; later the replica takes over.
* ``fail``: a script meets a key that it cannot read. ``full``: Redis is out of memory for a while.
* ``copy``: somebody copies a message into the ready list by hand. ``window``: a dedup window ends.

Idle cycles that find nothing and change nothing are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from . import redis_side as side
from .cycle import cycle, short
from .exchange_calls import run
from .exchange_faults import fault_steps, time_steps
from .exchange_parts import (
    CONFIRMED,
    DECISIONS,
    IN_TIME,
    NAMED,
    ONCE,
    ONE_HOLDER,
    Caller,
    Consumer,
    Op,
    State,
)
from .redis_side import Cycle, CycleReply, Envelope, Field, Options, Redis, names
from .rules import ALL_ON, Off
from .search import Happening, Label

DEFAULT = Options()


@dataclass(frozen=True)
class Exchange:
    """``callers``: the list of calls of each. ``decide``: kinds of verdicts, as in ``cycle.lua``;
    a retry is ``r0`` at once or ``r1`` delayed. ``capacity``: what a consumer holds at most."""

    name: str
    callers: tuple[tuple[Op, ...], ...]
    consumers: int = 1
    capacity: int = 1
    decide: tuple[str, ...] = ("a",)
    faults: dict[str, int] = field(default_factory=dict)
    options: Options = DEFAULT
    off: Off = ALL_ON

    def without(self, off: Off) -> Exchange:
        return replace(self, off=off)

    @cached_property
    def twins(self) -> bool:
        """Whether the callers differ in nothing but a payload: then the first one begins."""
        shapes = {tuple((op[0], *op[2:]) for op in ops) for ops in self.callers}
        payloads = [op[1] for ops in self.callers for op in ops if op[1:]]
        return len(shapes) == 1 and len(payloads) == len(set(payloads)) == len(self.callers)

    @cached_property
    def first_caller(self) -> Caller:
        return Caller("p0")

    @cached_property
    def scripts(self) -> Callable[[Redis, Cycle], tuple[tuple[Redis, CycleReply], ...]]:
        """``cycle`` by its ways, the long one first; remembered, as many states share what Redis
        holds. Nobody sleeps here, so the bell is left out."""

        def run(r: Redis, call: Cycle) -> tuple[tuple[Redis, CycleReply], ...]:
            done, reply = cycle(r, self.off, self.options, call)
            ways = [(done._replace(bell=False), reply)]
            brief = short(r, self.off, self.options, call, woken=False)
            if brief and brief[0] != ways[0][0]:
                ways.append(brief)
            return tuple(ways)

        return lru_cache(maxsize=200_000)(run)

    @cached_property
    def judged(self) -> Callable[[Redis], str | None]:
        return lru_cache(maxsize=200_000)(lambda r: side.broken(r, self.options))

    # --- the search's questions

    def initial(self) -> State:
        return State(
            Redis(),
            tuple(Caller(f"p{index}") for index in range(len(self.callers))),
            tuple(Consumer("ABC"[index]) for index in range(self.consumers)),
            tuple(self.faults.values()),
        )

    def broken(self, s: State) -> str | None:
        if s.wrong:
            return s.wrong
        found = self.judged(s.redis)
        if found:
            return found
        if not s.rolled:
            stored, gone = dict(s.redis.stored), dict(s.redis.gone)
            for message, outcome in s.told:
                count = stored.get(message, 0)
                if outcome == "stored" and (count == 0 or (count > 1 and not s.copied)):
                    return ONCE
                if outcome == "refused" and (count or gone.get(message)):
                    return ONCE
            holders: set[Field] = set()
            for one in s.consumers:
                if one.alive and not s.copied:
                    mine = {e.field for e in one.view}
                    if mine & holders:
                        return ONE_HOLDER
                    holders |= mine
        return None

    def at_rest(self, s: State) -> bool:
        r = s.redis
        if r.ready or r.suspects or r.delayed or r.inflight or s.full:
            return False
        if any(one.at < len(ops) for one, ops in zip(s.callers, self.callers, strict=True)):
            return False
        return not any(one.alive and (one.view or one.pending) for one in s.consumers)

    def describe(self, s: State) -> str:
        r = s.redis
        text = f"Redis: ready {names(r.ready)}, suspects {names(r.suspects)}, "
        lines = [f"{text}delayed {names(e for _, e in r.delayed)}, dead {names(r.dead)}"]
        lines += [f"Redis: {name} holds {names(held)}" for name, held in r.inflight]
        lines += [
            f"Consumer {one.name}: holds {names(one.view)}, undelivered verdicts {one.pending}"
            for one in s.consumers
            if one.alive
        ]
        return "\n".join(lines)

    # --- what can happen

    def spend(self, s: State, fault: str) -> State | None:
        """The state with one fault of this kind fewer; nothing where none is left."""
        for index, kind in enumerate(self.faults):
            if kind == fault and s.left[index]:
                left = (*s.left[:index], s.left[index] - 1, *s.left[index + 1 :])
                return s._replace(left=left)
        return None

    def steps(self, s: State) -> Iterator[Happening]:
        for index, one in enumerate(s.callers):
            yield from self.caller_steps(s, index, one)
        for index, consumer in enumerate(s.consumers):
            if index and s.consumers[index - 1] == Consumer("ABC"[index - 1]):
                break  # they are alike: the first one begins
            yield from self.consumer_steps(s, index, consumer)
        yield from time_steps(self, s)
        yield from fault_steps(self, s)

    # --- callers

    def caller_steps(self, s: State, index: int, one: Caller) -> Iterator[Happening]:
        ops = self.callers[index]
        if one.open is None:
            if one.at == len(ops) or (index and self.twins and s.callers[0] == self.first_caller):
                return
            op = ops[one.at]
            if op[0] == "publish" and "10-ids-come-first" not in self.off:
                number = 1 + index + (one.at + one.gave_up) * len(self.callers)
                op = ("publish", f"{op[1]}{number}", *op[2:])
            # It changes nothing before it arrives, so sending and arriving are one step.
            one = one._replace(open=op, n=one.n + 1)
            s = self.with_caller(s, index, one)
        assert one.open is not None
        done, answer = run(self, s, one.lane, one.n, one.open)
        what = " ".join(one.open)
        yield (
            ("Redis runs {}'s call {} ({}) and answers {}", one.lane, one.n, what, answer),
            self.answered(done, index, one, answer),
            False,
        )
        after = self.spend(done, "reply")
        if after and done.redis != s.redis:
            yield (
                ("Redis runs {}'s call {} ({}); the answer is lost", one.lane, one.n, what),
                after,
                True,
            )
        copy = ("call", one.lane, one.n, one.open)
        after = self.spend(s, "late")
        if after and copy not in s.late:
            after = after._replace(late=tuple(sorted((*s.late, copy), key=repr)))
            yield (
                ("{}'s call {} hangs in the network and is repeated", one.lane, one.n),
                after,
                True,
            )
        after = self.spend(s, "give up")
        if after:
            again = one._replace(open=None, lane=f"{one.lane}'", n=0, gave_up=one.gave_up + 1)
            if "1-number-is-never-reused" in self.off:
                again = again._replace(lane=one.lane, n=one.n - 1)
            if self.options.dedup == "off":
                again = again._replace(at=one.at + 1)
            after = self.with_caller(after, index, again)
            yield ("{} gives up call {}, which never arrives", one.lane, one.n), after, True
            after = after._replace(late=tuple(sorted((*s.late, copy), key=repr)))
            yield ("{} gives up call {}, which is on its way still", one.lane, one.n), after, True

    def with_caller(self, s: State, index: int, one: Caller) -> State:
        return s._replace(callers=(*s.callers[:index], one, *s.callers[index + 1 :]))

    def answered(self, s: State, index: int, one: Caller, answer: Any) -> State:
        op = one.open
        assert op is not None
        told = s.told
        if op[0] == "publish":
            outcome: tuple[str, str] | None = (op[1], "stored")
            if answer[1] == "full":
                outcome = (op[1], "refused")
            elif answer[1] and answer[1][0] == "named":
                outcome = (answer[1][1], "stored")
            elif answer[1]:
                outcome = None  # a duplicate: its receipt is that of the first
            elif "10-ids-come-first" in self.off:
                s = s._replace(wrong=NAMED)
            if outcome:
                told = tuple(sorted((*told, outcome)))
        if op[0] == "purge":
            # What is confirmed from now on is not this purge's business.
            told = ()
        one = one._replace(open=None, at=one.at + 1)
        return self.with_caller(s, index, one)._replace(told=told)

    # --- consumers

    def consumer_steps(self, s: State, index: int, one: Consumer) -> Iterator[Happening]:
        if not one.alive:
            fresh = Consumer(one.slot, born=one.born + 1)
            yield ("consumer {} is started again", one.slot), self.having(s, index, fresh), False
            return
        for e in one.view:
            for kind in self.decide:
                before = self.spend(s, "release") if kind == "R" else s
                if before:
                    yield (
                        ("consumer {} decides about {}: {}", one.name, e, DECISIONS[kind]),
                        self.having(before, index, self.decided(one, e, kind)),
                        False,
                    )
        if one.open is None:
            call = self.next_call(s, one)
            if call:
                sent = one._replace(session=call.session, open=call, acks=(), verdicts=())
                after = self.having(s, index, sent)
                if one.view:
                    yield ("consumer {} sends call {}{}", one.name, call.n, call), after, False
                else:
                    # Nothing can be decided meanwhile, so sending and arriving are one step.
                    yield from self.open_steps(after, index, sent)
        else:
            yield from self.open_steps(s, index, one)
        after = self.spend(s, "crash")
        if after and (one.session or one.view):
            dead = Consumer(one.slot, born=one.born, alive=False)
            yield ("consumer {} crashes", one.name), self.having(after, index, dead), True
        after = self.spend(s, "close")
        if after and one.session and not one.leaving:
            back = tuple(("R", e.field, 0) for e in one.view)
            leaving = one._replace(leaving=True, view=(), verdicts=(*one.verdicts, *back))
            yield (
                ("consumer {} begins to close", one.name),
                self.having(after, index, leaving),
                True,
            )
        after = self.spend(s, "fork")
        if after and one.session and one.open is None:
            for other, sleeping in enumerate(s.consumers):
                if other != index and sleeping.session is None:
                    child = one._replace(slot=sleeping.slot)
                    if "2-new-after-fork" not in self.off:
                        child = Consumer(sleeping.slot, born=sleeping.born)
                    yield ("consumer {} forks", one.name), self.having(after, other, child), True

    def having(self, s: State, index: int, one: Consumer) -> State:
        return s._replace(consumers=(*s.consumers[:index], one, *s.consumers[index + 1 :]))

    def decided(self, one: Consumer, e: Envelope, kind: str) -> Consumer:
        one = one._replace(view=tuple(other for other in one.view if other != e))
        if kind == "a" and self.options.dedup != "done":
            return one._replace(acks=(*one.acks, e.field))
        delay = int(kind[1:] or 0)
        if kind[0] == "r" and e.attempt >= self.options.max_attempts:
            kind, delay = "d", 0
        return one._replace(verdicts=(*one.verdicts, (kind[0], e.field, delay)))

    def next_call(self, s: State, one: Consumer) -> Cycle | None:
        r = s.redis
        want = 0 if one.leaving else self.capacity - len(one.view)
        if any(e.suspect for e in one.view):
            want = 0
        claimable = r.ready or r.suspects or any(due <= 0 for due, _ in r.delayed)
        if r.paused and "10-pause-claims-nothing" not in self.off:
            claimable = False
        # Between its cycles Redis was rolled back: the next idle cycle finds out.
        behind = s.rolled and one.session and side.get(r.lanes, one.session, (0,))[0] != one.n
        if not (one.pending or one.leaving or behind or (want and claimable)):
            return None
        held = len(one.view) + one.pending
        return Cycle(one.n + 1, one.name, want, held, one.acks, one.verdicts, one.leaving)

    def open_steps(self, s: State, index: int, one: Consumer) -> Iterator[Happening]:
        call = one.open
        assert call is not None
        if "1-repeated-unchanged" in self.off and one.pending:
            call = call._replace(
                acks=(*call.acks, *one.acks), verdicts=(*call.verdicts, *one.verdicts)
            )
            one = one._replace(acks=(), verdicts=())
        who, n = one.name, call.n
        if s.full and "4-cycle-passes-when-full" in self.off and self.grows(s, call):
            yield ("Redis is full and refuses {}'s call {}", who, n), s, False
            return
        for done, reply in self.scripts(s.redis, call):
            after = s._replace(redis=done)
            yield (
                ("Redis runs {}'s call {}{} and answers {}", who, n, call, reply),
                self.learned(after, index, one, call, reply),
                False,
            )
            lost = self.spend(after, "reply")
            if lost and done != s.redis:
                label: Label = ("Redis runs {}'s call {}{}; the answer is lost", who, n, call)
                yield label, self.having(lost, index, one._replace(open=call)), True
        copy = ("cycle", call)
        hung = self.spend(s, "late")
        if hung and copy not in s.late:
            hung = hung._replace(late=tuple(sorted((*s.late, copy), key=repr)))
            yield ("{}'s call {} hangs in the network and is repeated", who, n), hung, True
        failed = self.spend(s, "fail")
        if failed:
            half, _ = cycle(s.redis, self.off, self.options, call, failing=True)
            yield (
                ("{}'s call {} meets a key that Redis cannot read", who, n),
                failed._replace(redis=half),
                True,
            )

    def grows(self, s: State, call: Cycle) -> bool:
        """Whether the script's first write is one that a full Redis refuses: all but an HDEL."""
        claims = call.want and (s.redis.ready or s.redis.suspects)
        return bool(claims or call.verdicts or not call.acks)

    def learned(self, s: State, index: int, one: Consumer, call: Cycle, reply: CycleReply) -> State:
        """What the core does with an answer."""
        one = one._replace(open=None, n=call.n)
        if reply.status == "old":
            return self.having(s, index, self.abandoned(one))
        acked = [*call.acks, *(f for kind, f, _ in call.verdicts if kind == "a")]
        confirmed = [message for message, d in acked if (message, d) not in reply.stale]
        if not (s.rolled or s.copied):
            if reply.stale and not one.lapsed:
                s = s._replace(wrong=IN_TIME)
            fresh = {e.id for e in reply.envelopes if reply.status in ("new", "short")}
            if set(confirmed) & set(s.confirmed) or fresh & set(s.confirmed):
                s = s._replace(wrong=CONFIRMED)
            s = s._replace(confirmed=tuple(sorted({*s.confirmed, *confirmed})))
        if reply.reaped:
            return self.having(s, index, self.abandoned(one))
        view, brought = one.view, reply.envelopes
        if reply.status not in ("new", "short"):
            theirs = {e.field for e in brought}
            mine = {e.field for e in view} | {*one.acks} | {f for _, f, _ in one.verdicts}
            if reply.status == "lost":
                view = tuple(e for e in view if e.field in theirs)
            brought = tuple(e for e in brought if e.field not in mine)
            if not (s.rolled or s.copied) and {e.id for e in brought} & set(s.confirmed):
                s = s._replace(wrong=CONFIRMED)
        one = one._replace(view=tuple(sorted((*view, *brought))))
        if call.closing:
            one = Consumer(one.slot, born=one.born + 1)
        return self.having(s, index, one)

    def abandoned(self, one: Consumer) -> Consumer:
        """The session was reaped: what it held belongs to others. Its verdicts find that out."""
        if "2-new-after-reaping" in self.off:
            return one._replace(view=(), n=0)
        return Consumer(
            one.slot, born=one.born + 1, acks=one.acks, verdicts=one.verdicts, lapsed=True
        )
