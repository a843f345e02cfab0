"""What Redis holds, and what each script does to it, as plain functions of plain tuples.

These follow ``typed_rmq/lua`` line by line where the protocol is concerned; ``test_faithful.py``
runs both side by side. What is left out: payloads, priorities (one list stands for three), the
``room`` of blocked publishers, bounds on dead letters, and bodies of more than 1,000 items.

* Time is relative. A deadline or a due time is a number of ticks from now; at zero it has come.
  Redis's clock is therefore always zero, and a tick lowers all numbers by one.
* ``stored``, ``acked``, ``gone``, ``latest``, ``guard``, and ``wrong`` are not in Redis: they are
  what an all-knowing observer of Redis writes down, to check the invariants by.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Literal, NamedTuple

from .rules import Off

Id = str
Field = tuple[Id, int]


class Envelope(NamedTuple):
    """Id first, so that envelopes sort by age as the real ones do."""

    id: Id
    delivery: int = 1
    attempt: int = 1
    suspect: bool = False

    @property
    def field(self) -> Field:
        return self[0], self[1]

    def __str__(self) -> str:
        return f"{self.id}/{self.delivery}" + ("*" if self.suspect else "")


Envelopes = tuple[Envelope, ...]
Pairs = tuple[tuple[str, Any], ...]


class Redis(NamedTuple):
    ready: Envelopes = ()
    suspects: Envelopes = ()
    delayed: tuple[tuple[int, Envelope], ...] = ()
    inflight: Pairs = ()
    sessions: Pairs = ()
    lanes: Pairs = ()
    keys: Pairs = ()
    dead: Envelopes = ()
    bell: bool = False
    paused: bool = False
    completed: int = 0
    # --- the observer's notes
    stored: Pairs = ()
    acked: Pairs = ()
    gone: Pairs = ()
    latest: Pairs = ()
    """Of each message, the delivery that was claimed last."""
    guard: Pairs = ()
    """Of each dedup key, the message that it must stand for now."""
    wrong: str = ""


class Options(NamedTuple):
    """What a queue was made with; ``dedup`` is off, window, or done."""

    dedup: Literal["off", "window", "done"] = "off"
    max_attempts: int = 2
    bound: int = 0
    lease: int = 1
    reap_part: int = 1000


class Cycle(NamedTuple):
    """The arguments of one call. ``verdicts``: kind, field, delay; kinds as in ``cycle.lua``."""

    n: int
    session: str
    want: int = 0
    held: int = 0
    acks: tuple[Field, ...] = ()
    verdicts: tuple[tuple[str, Field, int], ...] = ()
    closing: bool = False

    def __str__(self) -> str:
        parts = [f"ack {message}/{delivery}" for message, delivery in self.acks]
        parts += [f"{KINDS[kind]} {message}/{d}" for kind, (message, d), _ in self.verdicts]
        parts += [f"wants {self.want}"] if self.want else []
        parts += ["closing"] if self.closing else []
        return f" ({', '.join(parts)})" if parts else ""


KINDS = {"a": "ack", "r": "retry", "R": "release", "d": "dead"}


class CycleReply(NamedTuple):
    status: str
    wait: int = -1
    stale: tuple[Field, ...] = ()
    reaped: bool = False
    lost: int = 0
    drain: bool = False
    expired: tuple[str, ...] = ()
    envelopes: Envelopes = ()

    def __str__(self) -> str:
        text = self.status + (f" with {names(self.envelopes)}" if self.envelopes else "")
        text += f", stale {' '.join(f'{m}/{d}' for m, d in self.stale)}" if self.stale else ""
        return (
            text
            + (", reaped" if self.reaped else "")
            + (f", lost {self.lost}" if self.lost else "")
        )


def names(envelopes: Iterable[Envelope]) -> str:
    return "[" + " ".join(map(str, envelopes)) + "]"


# --- pairs: a small dictionary as a sorted tuple


def get(pairs: Pairs, key: str, default: Any = None) -> Any:
    for name, value in pairs:
        if name == key:
            return value
    return default


def put(pairs: Pairs, key: str, value: Any) -> Pairs:
    return tuple(sorted([*(pair for pair in pairs if pair[0] != key), (key, value)]))


def drop(pairs: Pairs, key: str) -> Pairs:
    return tuple(pair for pair in pairs if pair[0] != key)


def add(pairs: Pairs, key: str, count: int = 1) -> Pairs:
    return put(pairs, key, get(pairs, key, 0) + count)


@cache
def key_of(message: Id) -> str:
    """Messages whose ids have the same letter have equal payloads."""
    return message.strip("0123456789")


# --- lane


def enter(r: Redis, lane: str, n: int, off: Off) -> tuple[str, int, Any]:
    """What call n is: new, with how many calls Redis has lost; again, with its answer; or old."""
    last = get(r.lanes, lane)
    if last is None:
        return "new", 0, None
    number, answer = last
    if n == number and "1-repeat-is-answered" not in off:
        return "again", 0, answer
    if n < number and "1-old-is-refused" not in off:
        return "old", 0, None
    lost = n - number - 1
    return "new", max(0, lost) if "1-loss-is-noticed" not in off else 0, None


def leave(r: Redis, lane: str, n: int, answer: Any) -> Redis:
    return r._replace(lanes=put(r.lanes, lane, (n, answer)))


def ring(r: Redis) -> Redis:
    return r if r.bell else r._replace(bell=True)


# --- dedup


def free_keys(r: Redis, messages: Any, o: Options, off: Off, rule: str) -> Redis:
    """Compare and delete, where ``rule`` says so; the observer notes what should be free."""
    if o.dedup == "off":
        return r
    keys, guard = r.keys, r.guard
    for message in messages:
        key = key_of(message)
        if rule not in off and ("8-only-its-own-key" in off or get(keys, key) == message):
            keys = drop(keys, key)
        if get(guard, key) == message:
            guard = drop(guard, key)
    return r._replace(keys=keys, guard=guard)


def window_ends(r: Redis, key: str) -> Redis:
    return r._replace(keys=drop(r.keys, key), guard=drop(r.guard, key))


LOSS = "no loss: every message is in one place that somebody looks after"
PAUSED = "a paused queue hands out nothing"
ONE_PER_KEY = "within the window one message per key"
FREES = "a message that ended frees its key, so that it can be published again"


def guarded(r: Redis, message: Id, o: Options) -> Redis:
    """The observer's note that this message enters the queue under its key."""
    if o.dedup == "off":
        return r
    key = key_of(message)
    if get(r.guard, key, message) != message:
        return r._replace(wrong=ONE_PER_KEY)
    return r._replace(guard=put(r.guard, key, message))


# --- publish


def publish(
    r: Redis, off: Off, o: Options, lane: str, n: int, ids: tuple[Id, ...], due: int = 0
) -> tuple[Redis, tuple[str, Any, int]]:
    """The answer is 'full', or the index and the first id of each duplicate."""
    state, lost, stored = enter(r, lane, n, off)
    if state != "new":
        return r, (state, stored, 0)
    taken, fresh, answer = r.keys, [], []
    for index, message in enumerate(ids):
        first = None if o.dedup == "off" else get(taken, key_of(message))
        if first is not None:
            answer.append((index, first))
            if taken is r.keys and get(r.guard, key_of(message)) is None:
                r = r._replace(wrong=FREES)
            continue
        if o.dedup != "off":
            taken = put(taken, key_of(message), message)
        fresh.append(Envelope(message))
    if o.bound and fresh:
        waiting = len(r.ready) + len(r.suspects) + len(r.delayed)
        if waiting + len(fresh) > o.bound:
            if "1-refusal-is-recorded" not in off:
                r = leave(r, lane, n, "full")
            return r, (state, "full", lost)
    rings = bool(fresh) and not r.bell and not r.paused
    if due > 0:
        rings = rings and (not r.delayed or due < r.delayed[0][0])
        rings = rings and "9-delayed-publish-rings" not in off
    else:
        rings = rings and "9-publish-rings" not in off
    r = r._replace(keys=taken, bell=r.bell or rings)
    for one in fresh:
        r = guarded(r._replace(stored=add(r.stored, one.id)), one.id, o)
    if due > 0:
        r = r._replace(delayed=tuple(sorted([*r.delayed, *((due, one) for one in fresh)])))
    else:
        r = r._replace(ready=(*r.ready, *fresh))
    return leave(r, lane, n, tuple(answer)), (state, tuple(answer), lost)


# --- reap and renew


def reap(r: Redis, off: Off, o: Options, session: str) -> tuple[Redis, str]:
    """Returns reaped, part (call again), renewed, or gone."""
    deadline = get(r.sessions, session)
    if deadline is None:
        return r, "gone"
    if deadline > 0 and "7-renewed-is-spared" not in off:
        return r, "renewed"
    held: Envelopes = tuple(sorted(get(r.inflight, session, ())))
    size = len(held)
    last = get(r.lanes, session)
    if last and not last[1] and "7-reaping-closes-the-short-way" not in off:
        r = leave(r, session, last[0], CLOSED)
    count = size
    if size > o.reap_part:
        # Whoever is left for the next call was not held alone, and must not look like it.
        count = min(o.reap_part, size - 2)
    alone = size == 1 or "6-counted-if-alone" in off
    back, letters = [], []
    for e in held[:count]:
        if alone and e.attempt >= o.max_attempts:
            letters.append(e)
        else:
            back.append(Envelope(e.id, e.delivery + 1, e.attempt + alone, True))
    r = r._replace(
        dead=(*r.dead, *letters),
        suspects=(*back, *r.suspects),
        inflight=hold(r.inflight, session, held[count:]),
    )
    r = free_keys(r, [e.id for e in letters], o, off, "8-freed-when-dead")
    if back and not r.paused and "9-reap-rings" not in off:
        r = ring(r)
    part = size > count
    if part and "7-entry-goes-last" not in off:
        return r, "part"
    r = r._replace(sessions=drop(r.sessions, session))
    if "1-lane-outlives-session" in off:
        r = r._replace(lanes=drop(r.lanes, session))
    return r, "part" if part else "reaped"


CLOSED = ("reaped",)
"""What reap leaves in a bare lane: it closes the short way of cycle."""


def hold(inflight: Pairs, session: str, held: Envelopes) -> Pairs:
    """Redis deletes a hash that has become empty."""
    return put(inflight, session, held) if held else drop(inflight, session)


def renew(r: Redis, o: Options, session: str) -> tuple[Redis, bool]:
    if get(r.sessions, session) is None:
        return r, False
    return r._replace(sessions=put(r.sessions, session, o.lease)), True


# --- time


def tick(r: Redis) -> Redis:
    """Redis's clock goes on."""
    return r._replace(
        delayed=tuple((max(0, due - 1), e) for due, e in r.delayed),
        sessions=tuple((name, max(0, deadline - 1)) for name, deadline in r.sessions),
    )


def expire(r: Redis, session: str) -> Redis:
    """This session's lease runs out."""
    if get(r.sessions, session) is None:
        return r
    return r._replace(sessions=put(r.sessions, session, 0))


# --- what must hold of Redis alone, after every script


def broken(r: Redis, o: Options) -> str | None:
    """The invariant that does not hold, if one does not."""
    if r.wrong:
        return r.wrong
    places: dict[Id, int] = {}
    everything = [*r.ready, *r.suspects, *(e for _, e in r.delayed), *r.dead]
    for session, held in r.inflight:
        if get(r.sessions, session) is None and held:
            return LOSS
        everything += held
    for e in everything:
        places[e.id] = places.get(e.id, 0) + 1
        if e.attempt > o.max_attempts:
            return "never more than max attempts"
    for message, count in (*r.acked, *r.gone):
        places[message] = places.get(message, 0) + count
    for message, count in places.items():
        if count > get(r.stored, message, 0):
            return "no invention: nothing is there twice, or that was never published"
    for message, count in r.stored:
        if places.get(message, 0) < count:
            return LOSS
    if r.completed != sum(count for _, count in r.acked):
        return "counters equal contents"
    return None
