"""The scripts of an administrator: pause and resume, purge, redrive."""

from __future__ import annotations

from .redis_side import (
    Envelope,
    Id,
    Options,
    Redis,
    add,
    enter,
    free_keys,
    get,
    guarded,
    key_of,
    leave,
    put,
    ring,
)
from .rules import Off


def control(r: Redis, off: Off, lane: str, n: int, *, paused: bool) -> tuple[Redis, str]:
    state, _, _ = enter(r, lane, n, off)
    if state != "new":
        return r, state
    r = r._replace(paused=paused)
    if not paused and "9-resume-rings" not in off:
        r = ring(r)
    return leave(r, lane, n, ""), state


def purge(
    r: Redis, off: Off, o: Options, lane: str, n: int
) -> tuple[Redis, tuple[str, tuple[Id, ...]]]:
    """Deletes all that is ready or delayed."""
    state, _, stored = (
        enter(r, lane, n, off) if "10-admin-has-a-lane" not in off else ("new", 0, ())
    )
    if state != "new":
        return r, (state, stored)
    gone = [e.id for e in (*r.ready, *r.suspects)] + [e.id for _, e in r.delayed]
    if "10-purge-spares-the-held" in off:
        gone += [e.id for _, held in r.inflight for e in held]
        r = r._replace(inflight=())
    r = r._replace(ready=(), suspects=(), delayed=(), bell=False)
    for message in gone:
        r = r._replace(gone=add(r.gone, message))
    r = free_keys(r, gone, o, off, "8-freed-when-purged")
    return leave(r, lane, n, tuple(gone)), (state, tuple(gone))


def redrive(
    r: Redis, off: Off, o: Options, lane: str, n: int
) -> tuple[Redis, tuple[str, tuple[Id, ...]]]:
    """All dead letters; the answer names those that went back."""
    state, _, stored = enter(r, lane, n, off)
    if state != "new":
        return r, (state, stored)
    keys, stay, moved = r.keys, [], []
    for e in r.dead:
        holder = None if o.dedup == "off" else get(keys, key_of(e.id))
        if holder not in (None, e.id) and "8-redrive-sees-the-holder" not in off:
            stay.append(e)
            continue
        if o.dedup != "off" and "8-redrive-takes-the-key" not in off:
            keys = put(keys, key_of(e.id), e.id)
        moved.append(Envelope(e.id, e.delivery + 1))
    r = r._replace(keys=keys, dead=tuple(stay), ready=(*r.ready, *moved))
    for e in moved:
        r = guarded(r, e.id, o)
    if moved and not r.paused:
        r = ring(r)
    answer = tuple(e.id for e in moved)
    return leave(r, lane, n, answer), (state, answer)
