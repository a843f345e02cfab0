"""What Redis does with a call of a producer or an administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import administration
from . import redis_side as side
from .exchange_parts import FULL, Op, State

if TYPE_CHECKING:
    from .exchange import Exchange


def run(world: Exchange, s: State, lane: str, n: int, op: Op) -> tuple[State, Any]:
    """One administrative or publishing call, done by Redis."""
    r, off, o = s.redis, world.off, world.options
    kind = op[0]
    if kind == "publish":
        fresh = side.enter(r, lane, n, off)[0] == "new" or "4-repeats-need-no-memory" in off
        if s.full and fresh and "4-publish-is-refused-whole" not in off:
            return s, ("new", "full", 0)
        name = op[1]
        if "10-ids-come-first" in off:
            name = f"{op[1]}{1 + sum(known[0] == op[1] for known, _ in r.stored)}"
        done, answer = side.publish(r, off, o, lane, n, (name,), int(op[2]) if op[2:] else 0)
        if s.full and done.stored != r.stored:
            return s._replace(redis=done, wrong=FULL), answer
        if "10-ids-come-first" in off and answer[0] == "new" and answer[1] == ():
            answer = (answer[0], ("named", name), 0)
        return s._replace(redis=done._replace(bell=False)), answer
    if kind == "purge":
        done, answer = administration.purge(r, off, o, lane, n)
        return s._replace(redis=done), answer
    if kind == "redrive":
        done, answer = administration.redrive(r, off, o, lane, n)
        return s._replace(redis=done._replace(bell=False)), answer
    done, status = administration.control(r, off, lane, n, paused=kind == "pause")
    return s._replace(redis=done._replace(bell=False)), (status, "")
