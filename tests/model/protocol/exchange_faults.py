"""What time does to an exchange, and what else can go wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import redis_side as side
from .exchange_calls import run
from .exchange_parts import PURGED, State
from .search import Happening, Label

if TYPE_CHECKING:
    from .exchange import Exchange


def time_steps(world: Exchange, s: State) -> Iterator[Happening]:
    r = s.redis
    if any(due > 0 for due, _ in r.delayed):
        due = tuple((0, e) for _, e in r.delayed)
        yield ("what was delayed is due",), s._replace(redis=r._replace(delayed=due)), False
    alive = {one.session for one in s.consumers if one.alive}
    for session, deadline in r.sessions:
        if deadline > 0 and session not in alive:
            after = s._replace(redis=side.expire(r, session))
            yield ("the lease of {} runs out", session), after, False
        if deadline <= 0:
            done, _ = side.reap(r, world.off, world.options, session)
            done = done._replace(bell=False)
            yield ("somebody reaps {}", session), s._replace(redis=done), False
    if s.full and not r.ready:
        yield ("Redis has memory again",), s._replace(full=False), False


def fault_steps(world: Exchange, s: State) -> Iterator[Happening]:
    r = s.redis
    for request in s.late:
        rest = s._replace(late=tuple(other for other in s.late if other != request))
        if request[0] == "cycle":
            text: Label = (
                "a late copy of {}'s call {} arrives",
                request[1].session,
                request[1].n,
            )
            for done, _ in world.scripts(r, request[1]):
                yield text, rest._replace(redis=done), True
            continue
        _, lane, n, op = request
        after, _ = run(world, rest, lane, n, op)
        answered = any(one.lane == lane and (one.n > n or one.open is None) for one in s.callers)
        if (
            op[0] == "purge"
            and answered
            and any(
                after.redis.gone != r.gone and message in dict(after.redis.gone)
                for message, outcome in s.told
                if outcome == "stored"
            )
        ):
            after = after._replace(wrong=PURGED)
        yield ("a late copy of {}'s call {} ({}) arrives", lane, n, " ".join(op)), after, True
    yield from _rarer(world, s)


def _rarer(world: Exchange, s: State) -> Iterator[Happening]:
    r = s.redis
    for index, one in enumerate(s.consumers):
        after = world.spend(s, "expire")
        if after and one.alive and one.session and side.get(r.sessions, one.session):
            lapsed = world.having(after, index, one._replace(lapsed=True))
            yield (
                ("consumer {} is silent until its lease has run out", one.name),
                lapsed._replace(redis=side.expire(r, one.session)),
                True,
            )
    after = world.spend(s, "rollback")
    if after and s.snapshot is None:
        yield ("replication stops",), after._replace(snapshot=r), True
    if s.snapshot is not None and s.snapshot != r:
        # What was on its way to the master never arrives.
        old = s._replace(redis=s.snapshot, snapshot=None, rolled=True, told=(), confirmed=())
        old = old._replace(late=())
        yield ("the master dies, the replica takes over",), old, True
    after = world.spend(s, "full")
    if after and not s.full:
        yield ("Redis runs out of memory",), after._replace(full=True), True
    after = world.spend(s, "window")
    if after:
        for key, _ in r.keys:
            ended = after._replace(redis=side.window_ends(r, key))
            yield ("the dedup window of {} ends", key), ended, True
    after = world.spend(s, "copy")
    if after:
        for e in sorted({*r.ready, *(e for _, held in r.inflight for e in held)}):
            more = r._replace(ready=(*r.ready, e), stored=side.add(r.stored, e.id))
            yield (
                ("somebody copies {} into the ready list", e),
                after._replace(redis=more, copied=True),
                True,
            )
