"""Crashing consumers, a message that brings them down, and who gives back what they held.

The queue has messages from the beginning, and may get more. Whoever starts to handle the poison
dies of it, sooner or later; a new process takes its place. A lease runs out when its consumer is
dead, when it is stalled (SIGSTOP, a suspended machine), or when Redis was away for long. Others
watch, and reap.

The network loses nothing here, and a call and its answer are one step. A living consumer that is
not stalled renews its lease before a grace has passed; the rules of reaping count on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from . import redis_side as side
from .cycle import cycle
from .redis_side import Cycle, CycleReply, Envelope, Envelopes, Field, Options, Redis, names
from .rules import ALL_ON, Off
from .search import Happening

POISON = "x"
TWO_ATTEMPTS = Options(max_attempts=2)

INNOCENT = "no innocent message dies because of its neighbours"
KILLS = "a poison message brings down no more consumers than its attempts, and one batch"
LIVING = "who lives and renews in time is not reaped"


class Consumer(NamedTuple):
    slot: str
    born: int = 0
    session: str | None = None
    n: int = 0
    alive: bool = True
    stalled: bool = False
    lapsed: bool = False
    """It was stalled past its lease, and has not been heard of since."""
    buffer: Envelopes = ()
    hands: Envelopes = ()
    acks: tuple[Field, ...] = ()
    verdicts: tuple[tuple[str, Field, int], ...] = ()
    drain: bool = False
    seen: tuple[tuple[str, bool], ...] = ()
    """Sessions that it saw expired, and whether a grace has passed since."""
    reap: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.session or f"{self.slot}{self.born}"

    @property
    def held(self) -> int:
        return len(self.buffer) + len(self.hands) + len(self.acks) + len(self.verdicts)


class State(NamedTuple):
    redis: Redis
    consumers: tuple[Consumer, ...]
    left: tuple[int, ...]
    kills: int = 0
    wrong: str = ""


@dataclass(frozen=True)
class Crashes:
    """``batch``: what a consumer holds at most; ``threads``: what it handles at a time. ``may``:
    how often: ``publish`` (one more), ``crash`` (of an innocent process), ``stall``, ``outage``,
    ``release`` (a batch that waited for long is given back)."""

    name: str
    messages: tuple[str, ...] = (POISON, "a")
    consumers: int = 2
    batch: int = 2
    threads: int = 1
    may: dict[str, int] = field(default_factory=dict)
    options: Options = TWO_ATTEMPTS
    off: Off = ALL_ON

    def without(self, off: Off) -> Crashes:
        return replace(self, off=off)

    @cached_property
    def scripts(self) -> Callable[[Redis, Cycle], tuple[Redis, CycleReply]]:
        return lru_cache(maxsize=200_000)(lambda r, call: cycle(r, self.off, self.options, call))

    @cached_property
    def numbered(self) -> bool:
        """Where every call arrives once, its number matters only if a name comes twice."""
        return "2-new-after-restart" in self.off

    # --- the search's questions

    def initial(self) -> State:
        ready = tuple(map(Envelope, self.messages))
        stored = tuple(sorted((message, 1) for message in self.messages))
        consumers = tuple(Consumer("ABC"[index]) for index in range(self.consumers))
        return State(Redis(ready=ready, stored=stored), consumers, tuple(self.may.values()))

    def broken(self, s: State) -> str | None:
        if s.wrong:
            return s.wrong
        if any(e.id != POISON for e in s.redis.dead):
            return INNOCENT
        if s.kills > self.options.max_attempts + (self.batch > 1):
            return KILLS
        return side.broken(s.redis, self.options)

    def at_rest(self, s: State) -> bool:
        r = s.redis
        return not (r.ready or r.suspects or r.inflight)

    def describe(self, s: State) -> str:
        r = s.redis
        text = f"Redis: ready {names(r.ready)}, suspects {names(r.suspects)}, "
        lines = [f"{text}dead {names(r.dead)}; {s.kills} consumers died of {POISON}"]
        lines += [f"Redis: {name} holds {names(held)}" for name, held in r.inflight]
        return "\n".join(lines)

    # --- what can happen

    def spend(self, s: State, kind: str) -> State | None:
        for index, name in enumerate(self.may):
            if name == kind and s.left[index]:
                return s._replace(left=(*s.left[:index], s.left[index] - 1, *s.left[index + 1 :]))
        return None

    def having(self, s: State, index: int, one: Consumer) -> State:
        return s._replace(consumers=(*s.consumers[:index], one, *s.consumers[index + 1 :]))

    def steps(self, s: State) -> Iterator[Happening]:
        for index, one in enumerate(s.consumers):
            if index and s.consumers[index - 1] == Consumer("ABC"[index - 1]):
                break  # they are alike: the first one begins
            if not one.alive:
                fresh = Consumer(one.slot, one.born)
                if "2-new-after-restart" not in self.off:
                    fresh = self.renamed(s, one)
                yield ("process {} is started again", one.slot), self.having(s, index, fresh), False
            elif one.stalled:
                awake = one._replace(stalled=False)
                yield ("consumer {} goes on", one.name), self.having(s, index, awake), False
            else:
                yield from self.calls(s, index, one)
                yield from self.handles(s, index, one)
            if one.alive:
                yield from self.mishaps(s, index, one)
        yield from self.time_steps(s)

    def renamed(self, s: State, one: Consumer) -> Consumer:
        """A consumer by a name that nobody knows: the first one that is free, as names that
        everybody has forgotten are as good as new ones, and fewer."""
        used = {name for name, _ in (*s.redis.sessions, *s.redis.inflight, *s.redis.lanes)}
        for other in s.consumers:
            used |= {name for name, _ in other.seen} | {*other.reap}
        born = next(born for born in range(1, 99) if f"{one.slot}{born}" not in used)
        return Consumer(one.slot, born)

    # --- consumers

    def calls(self, s: State, index: int, one: Consumer) -> Iterator[Happening]:
        r, who = s.redis, one.name
        if one.reap:
            yield self.reaps(s, index, one)
            return
        deadline = side.get(r.sessions, who) if one.session else None
        if deadline == 0:
            done, _ = side.renew(r, self.options, who)
            renewed = one._replace(lapsed=False)
            yield (
                ("consumer {} renews its lease", who),
                self.having(s._replace(redis=done), index, renewed),
                False,
            )
        pending = bool(one.acks or one.verdicts)
        if pending:
            yield self.cycles(s, index, one, 0)
        if one.buffer or len(one.hands) >= self.threads or self.waits(one):
            return
        expired = [name for name, at in r.sessions if at <= 0 and name != who]
        known = dict(one.seen)
        news = any(known.get(name, True) for name in expired) or known.keys() - set(expired)
        # One whose session was reaped would find out at its next idle cycle; one that took the
        # name of another at its first.
        lost = one.session and deadline is None
        taken = one.session is None and side.get(r.sessions, who) is not None
        if r.ready or r.suspects or pending or news or lost or taken:
            yield self.cycles(s, index, one, self.batch - len(one.hands))

    def waits(self, one: Consumer) -> bool:
        """Whether it claims nothing before a message in hand has its verdict."""
        if not one.hands:
            return False
        if "6-nothing-beside-it" not in self.off and any(e.suspect for e in one.hands):
            return True
        return one.drain

    def cycles(self, s: State, index: int, one: Consumer, want: int) -> Happening:
        n = one.n + 1 if self.numbered else 1 + (one.session is not None)
        call = Cycle(n, one.name, want, one.held, one.acks, one.verdicts)
        done, reply = self.scripts(s.redis, call)
        done = done._replace(bell=False)
        if not self.numbered:
            done = done._replace(lanes=())
        label = ("consumer {} cycles{} and gets {}", one.name, call, reply)
        s = s._replace(redis=done)
        if reply.reaped or reply.status == "old":
            return label, self.having(s, index, self.renamed(s, one)), False
        after = one._replace(
            session=call.session, n=n, acks=(), verdicts=(), drain=reply.drain, lapsed=False
        )
        mine = {e.field for e in (*one.buffer, *one.hands)}
        fresh = tuple(e for e in reply.envelopes if e.field not in mine)
        after = after._replace(buffer=(*one.buffer, *fresh))
        if want:
            known = dict(one.seen)
            at_once = "7-seen-twice" in self.off
            seen = {name: known.get(name, False) or at_once for name in reply.expired}
            after = after._replace(
                seen=tuple((name, False) for name, ripe in seen.items() if not ripe),
                reap=tuple(name for name, ripe in seen.items() if ripe),
            )
        return label, self.having(s, index, after), False

    def reaps(self, s: State, index: int, one: Consumer) -> Happening:
        name = one.reap[0]
        done, state = side.reap(s.redis, self.off, self.options, name)
        s = s._replace(redis=done)
        for other in s.consumers:
            spared = not (other.alive and other.session == name) or other.lapsed or other.stalled
            if state in ("reaped", "part") and not spared:
                s = s._replace(wrong=LIVING)
        after = self.having(s, index, one._replace(reap=one.reap[1:]))
        return ("consumer {} reaps {}: {}", one.name, name, state), after, False

    def handles(self, s: State, index: int, one: Consumer) -> Iterator[Happening]:
        if one.buffer and len(one.hands) < self.threads:
            first, *rest = one.buffer
            started = one._replace(buffer=tuple(rest), hands=tuple(sorted((*one.hands, first))))
            yield (
                ("consumer {} begins with {}", one.name, first),
                self.having(s, index, started),
                False,
            )
        for e in one.hands:
            if e.id == POISON:
                dead = Consumer(one.slot, one.born, alive=False)
                after = self.having(s, index, dead)._replace(kills=s.kills + 1)
                yield ("{} brings consumer {} down", e, one.name), after, False
            else:
                hands = tuple(other for other in one.hands if other != e)
                done = one._replace(hands=hands, acks=tuple(sorted((*one.acks, e.field))))
                yield (
                    ("consumer {} is done with {}", one.name, e),
                    self.having(s, index, done),
                    False,
                )
        after_ = self.spend(s, "release")
        if after_ and one.buffer:
            back = tuple(("R", e.field, 0) for e in one.buffer)
            given = one._replace(buffer=(), verdicts=(*one.verdicts, *back))
            yield (
                ("consumer {} gives back what it has not begun", one.name),
                self.having(after_, index, given),
                False,
            )

    # --- what goes wrong

    def mishaps(self, s: State, index: int, one: Consumer) -> Iterator[Happening]:
        after = self.spend(s, "crash")
        if after and one.session:
            dead = Consumer(one.slot, one.born, alive=False)
            yield ("consumer {} crashes", one.name), self.having(after, index, dead), True
        after = self.spend(s, "stall")
        if after and one.session and side.get(s.redis.sessions, one.session):
            stalled = one._replace(stalled=True, lapsed=True)
            late = after._replace(redis=side.expire(s.redis, one.session))
            yield (
                ("consumer {} is stalled past its lease", one.name),
                self.having(late, index, stalled),
                True,
            )

    def time_steps(self, s: State) -> Iterator[Happening]:
        r = s.redis
        owners = {one.session: one for one in s.consumers if one.alive and one.session}
        for name, deadline in r.sessions:
            if deadline > 0 and name not in owners:
                yield (
                    ("the lease of {} runs out", name),
                    s._replace(redis=side.expire(r, name)),
                    False,
                )
        waiting = any(not ripe for one in s.consumers for _, ripe in one.seen)
        if waiting and not any(
            at <= 0 and name in owners and not owners[name].stalled for name, at in r.sessions
        ):
            ripe = tuple(
                one._replace(seen=tuple((name, True) for name, _ in one.seen))
                for one in s.consumers
            )
            yield ("a grace passes",), s._replace(consumers=ripe), False
        after = self.spend(s, "publish")
        if after:
            name = "mnop"[len(r.stored) - len(self.messages)]
            more = r._replace(ready=(*r.ready, Envelope(name)), stored=side.add(r.stored, name))
            yield ("{} is published", name), after._replace(redis=more), False
        after = self.spend(s, "outage")
        if after and r.sessions:
            late = r._replace(sessions=tuple((name, 0) for name, _ in r.sessions))
            consumers = s.consumers
            if "7-forgotten-with-connection" not in self.off:
                consumers = tuple(one._replace(seen=(), reap=()) for one in consumers)
            yield (
                ("Redis is away until all leases have run out",),
                after._replace(redis=late, consumers=consumers),
                True,
            )
