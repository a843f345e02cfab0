"""Who sleeps, who is woken, and whether work ever lies beside a sleeper.

Several consumers, a network that loses nothing, and time. A consumer cycles; where it found
nothing, it blocks on the bell and cycles again when that rings or its time is over. The bell and
the cycle leave together, but others may come between the two. Redis serves sleepers in the order
in which they came.

Whatever is not waiting for time, a ring, or a handler happens before time goes on; all orders of
it are tried. Time goes in ticks: a lease is three, the bound of a wait is two, the grace before a
reaping is one. Live consumers renew in time. Handlers take as long as they like.

Numbers of calls are left out, as every call arrives once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from . import administration
from . import redis_side as side
from .cycle import cycle, short
from .redis_side import Cycle, CycleReply, Options, Redis, names
from .rules import ALL_ON, Off
from .search import Happening
from .waiting_parts import (
    BASELINE,
    BESIDE,
    BOUND,
    FOR_EVER,
    GRACE,
    LEASE,
    OVERDUE,
    SPINS,
    URGENT,
    Consumer,
    State,
)

THREE_TICKS = Options(lease=LEASE, max_attempts=3)


@dataclass(frozen=True)
class Waiting:
    """``capacity``: what a consumer holds at most; with ``batches`` it handles one at a time, and
    fetches when it holds none. ``may``: how often each of these can happen: ``publish``,
    ``delay1`` and ``delay3`` (a publish due after so many ticks), ``retry`` (a failed handler,
    delayed by one tick), ``pause`` (and resume), ``close``, ``crash``, ``die`` (with a message in
    hand), ``cut`` (a connection breaks during a wait)."""

    name: str
    consumers: int = 2
    capacity: int = 1
    batches: bool = False
    may: dict[str, int] = field(default_factory=dict)
    options: Options = THREE_TICKS
    off: Off = ALL_ON

    def without(self, off: Off) -> Waiting:
        return replace(self, off=off)

    @cached_property
    def scripts(self) -> Callable[[Redis, Cycle], tuple[Redis, CycleReply]]:
        return lru_cache(maxsize=200_000)(lambda r, call: cycle(r, self.off, self.options, call))

    # --- the search's questions

    def initial(self) -> State:
        return State(Redis(), (Consumer(),) * self.consumers, tuple(self.may.values()))

    def broken(self, s: State) -> str | None:
        allowed = BOUND if s.token_lost else 0
        if s.beside > allowed:
            return BESIDE
        if s.overdue > allowed + GRACE:
            return OVERDUE
        return s.wrong or side.broken(s.redis, self.options)

    def at_rest(self, s: State) -> bool:
        r = s.redis
        return not (r.ready or r.suspects or r.delayed or r.inflight or r.paused)

    def describe(self, s: State) -> str:
        r = s.redis
        delayed = " ".join(f"{e} in {due}" for due, e in r.delayed) or "[]"
        text = f"Redis: ready {names(r.ready)}, suspects {names(r.suspects)}, delayed {delayed}, "
        lines = [f"{text}bell {'rung' if r.bell else 'silent'}"]
        for index, one in enumerate(s.consumers):
            if one.phase != "off":
                text = f"Consumer {'ABC'[index]}: {one.phase}, holds {names(one.view)}"
                lines.append(text + (f", for {one.timer} more" if one.phase == "blocked" else ""))
        return "\n".join(lines)

    # --- what can happen

    def spend(self, s: State, kind: str) -> State | None:
        for index, name in enumerate(self.may):
            if name == kind and s.left[index]:
                return s._replace(left=(*s.left[:index], s.left[index] - 1, *s.left[index + 1 :]))
        return None

    def steps(self, s: State) -> Iterator[Happening]:
        urgent = False
        for index, one in enumerate(s.consumers):
            if index and s.consumers[index - 1].phase == "off":
                break  # they are alike: the first one begins
            for happening in self.consumer_steps(s, index, one):
                urgent = urgent or self.urgent(one)
                yield happening
        yield from self.world_steps(s)
        if not urgent and (s.redis.delayed or s.redis.inflight or s.order):
            yield ("a tick passes",), self.ticked(s), False

    def urgent(self, one: Consumer) -> bool:
        """Whether it does something before time goes on."""
        return one.phase in URGENT or one.pending > 0 or (one.phase == "blocked" and not one.timer)

    def having(self, s: State, index: int, one: Consumer) -> State:
        """With this consumer changed; whoever waits longest then hears the bell."""
        s = s._replace(consumers=(*s.consumers[:index], one, *s.consumers[index + 1 :]))
        if one.phase != "blocked" and index in s.order:
            s = s._replace(order=tuple(other for other in s.order if other != index))
        return self.served(s)

    def served(self, s: State) -> State:
        if not (s.redis.bell and s.order):
            return s
        first, *rest = s.order
        woken = s.consumers[first]._replace(phase="woken")
        consumers = (*s.consumers[:first], woken, *s.consumers[first + 1 :])
        return s._replace(
            redis=s.redis._replace(bell=False), order=tuple(rest), consumers=consumers
        )

    # --- consumers

    def consumer_steps(self, s: State, index: int, one: Consumer) -> Iterator[Happening]:
        who, phase = "ABC"[index], one.phase
        if phase == "off":
            first = "sleep" if "9-cycle-before-sleep" in self.off else "cycle"
            started = one._replace(phase=first, timer=self.bounded([]))
            yield ("consumer {} starts", who), self.having(s, index, started), False
        elif phase in ("cycle", "woken"):
            call = self.call(s, one, who)
            yield self.cycles(s, index, one, call, *self.scripts(s.redis, call))
            # Who watches a session that has run out goes the long way.
            brief = not one.seen and short(
                s.redis, self.off, self.options, call, woken=phase == "woken"
            )
            if brief:
                yield self.cycles(s, index, one, call, *brief)
        elif phase == "sleep":
            if s.redis.bell:
                heard = s._replace(redis=s.redis._replace(bell=False))
                yield (
                    ("consumer {} wants to sleep, and the bell has rung", who),
                    self.having(heard, index, one._replace(phase="woken")),
                    False,
                )
            else:
                asleep = s._replace(order=(*s.order, index))
                yield (
                    ("consumer {} falls asleep for {}", who, one.timer),
                    self.having(asleep, index, one._replace(phase="blocked")),
                    False,
                )
        elif phase == "blocked":
            if one.timer <= 0:
                awake = one._replace(phase="woken", timer=0)
                yield ("consumer {}'s time is over", who), self.having(s, index, awake), False
        elif phase == "reap":
            done, state = side.reap(s.redis, self.off, self.options, one.reap[0])
            rest = one._replace(reap=one.reap[1:])
            rest = rest._replace(
                phase="reap" if rest.reap else "hands" if self.full(rest) else "cycle"
            )
            yield (
                ("consumer {} reaps {}: {}", who, one.reap[0], state),
                self.having(s._replace(redis=done), index, rest),
                False,
            )
        elif phase == "closing":
            call = self.call(s, one, who, closing=True)
            done, _ = self.scripts(s.redis, call)
            if done.bell and self.at_rest(s._replace(redis=done)) and not done.sessions:
                s = s._replace(wrong=BASELINE)
            gone = Consumer(phase="gone")
            yield (
                ("consumer {} says goodbye{}", who, call),
                self.having(s._replace(redis=self.bare(done)), index, gone),
                False,
            )
        if one.pending and phase in ("blocked", "hands"):
            yield self.flushes(s, index, one, who)
        if one.alive and phase != "closing":
            yield from self.handles(s, index, one, who)
            yield from self.leaves(s, index, one, who)

    def call(self, s: State, one: Consumer, who: str, *, closing: bool = False) -> Cycle:
        known = side.get(s.redis.sessions, who) is not None
        want = 0 if closing else self.capacity - len(one.view)
        held = len(one.view) + one.pending
        return Cycle(2 if known else 1, who, want, held, one.acks, one.verdicts, closing)

    def bare(self, r: Redis) -> Redis:
        """All that is kept of a lane is whether it is a bare number, which opens the short way."""
        lanes = tuple(
            (name, (1, (True,) if answer else ()))
            for name, (_, answer) in r.lanes
            if side.get(r.sessions, name) is not None
        )
        return r._replace(lanes=lanes, latest=())

    def cycles(
        self, s: State, index: int, one: Consumer, call: Cycle, done: Redis, reply: CycleReply
    ) -> Happening:
        done, who = self.bare(done), call.session
        view = tuple(sorted((*one.view, *reply.envelopes)))
        if reply.status == "short":
            brief = one._replace(acks=(), view=view)
            brief = brief._replace(phase="hands" if self.full(brief) else "cycle")
            return (
                ("consumer {} cycles{} by the short way and gets {}", who, call, reply),
                self.having(s._replace(redis=done), index, brief),
                False,
            )
        label = ("consumer {} cycles{} and gets {}", who, call, reply)
        after = one._replace(acks=(), verdicts=(), view=view, drain=reply.drain)
        if not reply.envelopes:
            same = done._replace(bell=False, sessions=()) == s.redis._replace(
                bell=False, sessions=()
            )
            if reply.wait == 0 and same:
                return label, s._replace(wrong=SPINS), False
        seen = {name: dict(one.seen).get(name, 0) for name in reply.expired}
        ripe = tuple(name for name, age in seen.items() if age >= GRACE)
        after = after._replace(
            seen=tuple((name, age) for name, age in seen.items() if age < GRACE), reap=ripe
        )
        return label, self.having(s._replace(redis=done), index, self.next(after, reply)), False

    def next(self, one: Consumer, reply: CycleReply) -> Consumer:
        """What the core decides after an answer."""
        if one.reap:
            return one._replace(phase="reap")
        if self.full(one):
            return one._replace(phase="hands")
        if reply.envelopes or reply.wait == 0:
            return one._replace(phase="cycle")
        waits = [] if reply.wait < 0 else [reply.wait]
        waits += [GRACE - age for _, age in one.seen]
        return one._replace(phase="sleep", timer=self.bounded(waits))

    def full(self, one: Consumer) -> bool:
        """Whether it takes nothing more before a message in hand has its verdict."""
        if self.batches or one.drain or any(e.suspect for e in one.view):
            return bool(one.view)
        return len(one.view) >= self.capacity

    def bounded(self, waits: list[int]) -> int:
        bound = FOR_EVER if "9-waits-are-bounded" in self.off else BOUND
        return min([bound, *waits])

    def flushes(self, s: State, index: int, one: Consumer, who: str) -> Happening:
        """A verdict that came up while another thread sleeps, or that none can wait behind."""
        call = self.call(s, one, who)._replace(want=0)
        done, _ = self.scripts(s.redis, call)
        after = one._replace(acks=(), verdicts=())
        return (
            ("consumer {} sends its verdicts{}", who, call),
            self.having(s._replace(redis=self.bare(done)), index, after),
            False,
        )

    def handles(self, s: State, index: int, one: Consumer, who: str) -> Iterator[Happening]:
        for e in one.view:
            view = tuple(other for other in one.view if other != e)
            # Where no hand was free, the verdict goes with the next cycle.
            one_less = one._replace(view=view, drain=False)
            phase = one.phase
            if phase == "hands" and not self.full(one_less):
                phase = "cycle"
            done = one_less._replace(acks=(*one.acks, e.field), phase=phase)
            yield ("consumer {} is done with {}", who, e), self.having(s, index, done), False
            after = self.spend(s, "retry")
            if after:
                verdicts = (*one.verdicts, ("r", e.field, 1))
                failed = one_less._replace(verdicts=verdicts, phase=phase)
                yield (
                    ("consumer {} fails with {}", who, e),
                    self.having(after, index, failed),
                    False,
                )

    def leaves(self, s: State, index: int, one: Consumer, who: str) -> Iterator[Happening]:
        # One must stay: where nobody is left, nobody can be late.
        if sum(other.phase not in ("gone", "dead", "closing") for other in s.consumers) < 2:
            return
        after = self.spend(s, "close")
        if after:
            back = tuple(("R", e.field, 0) for e in one.view)
            closing = one._replace(
                phase="closing", view=(), verdicts=(*one.verdicts, *back), timer=0, seen=(), reap=()
            )
            yield ("consumer {} begins to close", who), self.having(after, index, closing), False
        after = self.spend(s, "crash") or (self.spend(s, "die") if one.view else None)
        if after:
            lost = after.token_lost or one.phase in ("woken", "cycle", "blocked", "sleep", "reap")
            yield (
                ("consumer {} crashes", who),
                self.having(after._replace(token_lost=lost), index, Consumer(phase="dead")),
                True,
            )
        after = self.spend(s, "cut")
        if after and one.phase in ("blocked", "woken"):
            then = "sleep" if "9-cycle-before-sleep" in self.off else "cycle"
            again = one._replace(phase=then, seen=(), reap=())
            yield ("consumer {}'s connection breaks", who), self.having(after, index, again), True

    # --- producers, operators, time

    def world_steps(self, s: State) -> Iterator[Happening]:
        r = s.redis
        for kind, due in (("publish", 0), ("delay1", 1), ("delay3", 3)):
            after = self.spend(s, kind)
            if after:
                name = "abcdef"[len(r.stored)]
                done, _ = side.publish(r, self.off, self.options, "p", 1, (name,), due)
                yield (
                    ("{} is published{}", name, f", due in {due}" if due else ""),
                    self.served(after._replace(redis=self.bare(done))),
                    False,
                )
        after = self.spend(s, "pause")
        if after and not r.paused:
            done, _ = administration.control(r, self.off, "p", 1, paused=True)
            yield ("the queue is paused",), after._replace(redis=self.bare(done)), False
        if r.paused:
            done, _ = administration.control(r, self.off, "p", 1, paused=False)
            yield ("the queue is resumed",), self.served(s._replace(redis=self.bare(done))), False

    def ticked(self, s: State) -> State:
        r = s.redis
        beside = overdue = 0
        sleepers = [s.consumers[index] for index in s.order]
        if any(self.could_take(r, one) for one in sleepers):
            beside = s.beside + 1
        dead = ["ABC"[i] for i, one in enumerate(s.consumers) if one.phase == "dead"]
        late = [name for name in dead if side.get(r.sessions, name) == 0]
        if sleepers and any(side.get(r.inflight, name) for name in late):
            overdue = s.overdue + 1
        r = side.tick(r)
        live = tuple((n, LEASE if n not in dead else at) for n, at in r.sessions)
        consumers = tuple(
            one._replace(
                timer=one.timer if one.timer == FOR_EVER else max(0, one.timer - 1),
                seen=tuple((name, min(GRACE, age + 1)) for name, age in one.seen),
            )
            for one in s.consumers
        )
        return s._replace(
            redis=r._replace(sessions=live), consumers=consumers, beside=beside, overdue=overdue
        )

    def could_take(self, r: Redis, one: Consumer) -> bool:
        if r.paused or len(one.view) >= self.capacity:
            return False
        if r.suspects:
            return not one.view
        return bool(r.ready or any(due <= 0 for due, _ in r.delayed))
