"""The cycle script as a function: settle, renew, promote, claim, pass the bell on.

The order is that of ``cycle.lua``. ``failing`` is a script that dies half-way, as a key turned out
to be of the wrong type or to be on its way to another node: with rule 3 on, nothing has been
written by then.
"""

from __future__ import annotations

from .redis_side import (
    CLOSED,
    PAUSED,
    Cycle,
    CycleReply,
    Envelope,
    Field,
    Options,
    Redis,
    add,
    drop,
    enter,
    free_keys,
    get,
    hold,
    leave,
    put,
)
from .rules import Off

FOREIGN = "?"
"""The id of what is no message."""

NOTHING = (0, False, ())
"""An answer without anything to say leaves the lane a bare number."""

SOON = 2
"""Ticks that nobody sleeps longer than; 15 seconds in the script."""


def cycle(
    r: Redis, off: Off, o: Options, call: Cycle, *, failing: bool = False
) -> tuple[Redis, CycleReply]:
    name = call.session
    state, lost, stored = enter(r, name, call.n, off)
    if state == "old":
        return r, CycleReply("old")
    score = get(r.sessions, name)
    held: tuple[Envelope, ...] = get(r.inflight, name, ())
    if state == "again":
        if score is not None:
            r = r._replace(sessions=put(r.sessions, name, o.lease))
        losses, reaped, stale = stored if stored and stored != CLOSED else NOTHING
        mine = held if "1-repeat-brings-all-held" not in off else ()
        reaped = reaped or (score is None and not call.closing)
        return r, CycleReply(
            "lost" if losses else "again", 0, stale, reaped, losses, envelopes=mine
        )

    if r.paused and "10-pause-settles" in off:
        call = call._replace(acks=(), verdicts=())

    # 1. Read what there is.
    size = len(held)
    by_field = {e.field: e for e in held}
    reaped = score is None and call.n > 1 and size == 0
    next_due = r.delayed[0][0] if r.delayed else None
    earliest = next_due
    expired = tuple(other for other, at in r.sessions if at <= 0 and other != name)
    next_lease = min((at for other, at in r.sessions if at > 0 and other != name), default=None)

    # 2. The verdicts. Where the session holds just what it believes to hold, none can be stale.
    trusted = size == call.held and len(call.acks) <= size and not lost and not reaped
    trusted = trusted or "7-reaped-is-stale" in off
    settled: list[Field] = []
    stale_: list[Field] = []
    for field in call.acks:
        (settled if trusted or field in by_field else stale_).append(field)
    completed, acked = len(settled), [f for f in settled if f in by_field]
    front: list[Envelope] = []
    back: list[Envelope] = []
    suspected: list[Envelope] = []
    later: list[tuple[int, Envelope]] = []
    letters: list[Envelope] = []
    dropped: list[Envelope] = []
    freed: list[str] = []
    for kind, field, delay in call.verdicts:
        e = by_field.get(field)
        if e is None or field in settled:
            stale_.append(field)
            continue
        settled.append(field)
        if kind == "a":
            completed += 1
            acked.append(field)
            if o.dedup == "done":
                freed.append(e.id)
        elif kind == "r":
            again = Envelope(e.id, e.delivery + 1, e.attempt + 1)
            if "10-retries-are-kept" in off and o.bound <= len(r.ready) + len(r.delayed):
                dropped.append(e)
            elif delay > 0:
                later.append((delay, again))
                next_due = delay if next_due is None else min(next_due, delay)
            else:
                back.append(again)
        elif kind == "R":
            marked = e.suspect and "6-release-keeps-the-mark" not in off
            again = Envelope(e.id, e.delivery + 1, e.attempt, marked)
            (suspected if marked else front).append(again)
        else:
            letters.append(e)
    front.sort()
    suspected.sort()
    due_moved = next_due is not None and (earliest is None or next_due < earliest)
    due_moved = due_moved and "9-earlier-due-rings" not in off
    remaining = size - len(settled)

    # 3. What the consumer can take: suspects alone, else the ready list.
    paused = r.paused and "10-pause-claims-nothing" not in off
    claims = call.want > 0 and not paused and not reaped and not lost and not call.closing
    claimed: list[Envelope] = []
    copies: list[Envelope] = []
    overwrite = "5-no-overwrite" in off
    taken: set[Field] = set() if overwrite else {*by_field, *settled}

    def claim(e: Envelope) -> None:
        if e.id == FOREIGN or (e.field in taken):
            copies.append(e)
        else:
            if not overwrite:
                taken.add(e.field)
            claimed.append(e)

    due_count, drain = 0, False
    if claims and earliest is not None and earliest <= 0:
        due_count = sum(due <= 0 for due, _ in r.delayed)
        back += [e for _, e in r.delayed[:due_count]]
        rest = [*r.delayed[due_count:], *later]
        next_due = min((due for due, _ in rest), default=None)
    suspects, ready = [*suspected, *r.suspects], list(r.ready)
    lined = "6-claimed-alone" not in off
    if claims and suspects and lined:
        if remaining > 0 and "6-hands-are-empty" not in off:
            drain = True
        else:
            claim(suspects.pop(0))
    elif claims:
        queue = [*(() if lined else suspects), *front, *ready, *back]
        for e in queue[: call.want]:
            claim(e)
        cut = call.want
        if not lined:
            suspects, cut = suspects[cut:], max(0, cut - len(suspects))
        pieces = []
        for piece in (front, ready, back):
            pieces.append(piece[cut:])
            cut = max(0, cut - len(piece))
        front, ready, back = pieces
    if failing:
        return (
            (r, CycleReply("failed"))
            if "3-read-then-write" not in off
            else (_half(r, call, settled, claimed), CycleReply("failed"))
        )

    # 4. The writes.
    remains = [e for e in held if e.field not in settled]
    inflight = {e.field: e for e in (*held, *claimed)}  # HSET: one envelope for a field
    for field in settled:
        inflight.pop(field, None)
    r = r._replace(
        ready=(*front, *ready, *back),
        suspects=tuple(suspects),
        delayed=tuple(sorted([*r.delayed[due_count:], *later])),
        inflight=hold(r.inflight, name, tuple(sorted(inflight.values()))),
        dead=(*r.dead, *letters, *copies),
        completed=r.completed + completed,
    )
    r = _observed(r, acked, claimed, o)
    if freed:
        r = free_keys(r, freed, o, off, "8-freed-when-done")
    if letters:
        r = free_keys(r, [e.id for e in letters], o, off, "8-freed-when-dead")
    if call.closing and remaining <= 0:
        r = r._replace(sessions=drop(r.sessions, name))
    elif not reaped:
        r = r._replace(sessions=put(r.sessions, name, o.lease))

    # 5. The bell.
    left_over = len(r.ready) + len(r.suspects)
    work = not r.paused and left_over > 0 and "9-cycle-passes-it-on" not in off
    lease_first = score is None and not reaped and next_lease is not None and o.lease < next_lease
    goes = call.closing and (next_due is not None or next_lease is not None)
    goes = goes and "9-closing-rings" not in off
    if work and call.closing and "9-closing-rings" in off:
        work = False
    # Who takes something sleeps no more: what it knows about what is due is of no use to others.
    busy = bool(claimed) and next_due is not None and next_due < SOON
    busy = busy and "9-claim-passes-due-on" not in off
    tell = work or (due_moved and not r.paused) or lease_first or goes or busy
    if tell:
        r = r._replace(bell=True)
    elif next_due is None and (claims or call.closing) and "9-stale-bell-is-taken-down" not in off:
        r = r._replace(bell=False)
    waits = [] if next_lease is None else [next_lease]
    if next_due is not None and not r.paused and not drain and "9-wakes-when-due" not in off:
        waits.append(max(0, next_due))
    if claims and not drain and not claimed and left_over:
        waits.append(0)
    if "9-due-now-means-claimable" in off and (left_over or next_due == 0):
        waits.append(0)
    reply = CycleReply(
        "lost" if lost else "new",
        min(waits, default=-1),
        tuple(stale_),
        reaped,
        lost,
        drain,
        expired,
    )
    answer = (lost, reaped, tuple(stale_))
    r = leave(r, name, call.n, () if answer == NOTHING else answer)
    envelopes = tuple(sorted(remains)) if lost else tuple(claimed)
    return r, reply._replace(envelopes=envelopes)


def short(
    r: Redis, off: Off, o: Options, call: Cycle, *, woken: bool
) -> tuple[Redis, CycleReply] | None:
    """The short way: acks of what is held, and a claim where all else can wait.

    Nothing where it is closed; the call then goes the long way. A client may take it for a grace
    after each long one. Here it may take it whenever it likes, which is more.
    """
    held: tuple[Envelope, ...] = get(r.inflight, call.session, ())
    mine = {e.field for e in held}
    if call.n < 2 or call.verdicts or call.closing or not call.want:
        return None
    soon = r.delayed and r.delayed[0][0] < SOON
    if r.suspects or soon or r.paused or len(held) != call.held:
        return None
    last = get(r.lanes, call.session)
    if last is None or last[0] != call.n - 1 or last[1]:
        return None
    items = r.ready[: call.want]
    fields = {e.field for e in items}
    if (
        not items
        or fields & mine
        or len(fields) < len(items)
        or any(e.id == FOREIGN for e in items)
    ):
        return None
    acked = [field for field in call.acks if field in mine]
    left = tuple(e for e in held if e.field not in call.acks)
    ready = r.ready[call.want :]
    rings = woken and len(items) == call.want and bool(ready) and "9-woken-pass-it-on" not in off
    r = r._replace(
        ready=ready,
        inflight=hold(r.inflight, call.session, tuple(sorted((*left, *items)))),
        completed=r.completed + len(call.acks),
        bell=r.bell or rings,
    )
    r = _observed(r, acked, list(items), o)
    r = leave(r, call.session, call.n, ())
    return r, CycleReply("short", envelopes=items)


def _half(r: Redis, call: Cycle, settled: list[Field], claimed: list[Envelope]) -> Redis:
    """A script that removes before it copies, and dies in between: Lua does not roll back."""
    held = tuple(e for e in get(r.inflight, call.session, ()) if e.field not in settled)
    return r._replace(
        inflight=hold(r.inflight, call.session, held),
        ready=tuple(e for e in r.ready if e not in claimed),
    )


def _observed(r: Redis, acked: list[Field], claimed: list[Envelope], o: Options) -> Redis:
    """What the observer writes down: effects of verdicts, and deliveries."""
    for message, _ in acked:
        r = r._replace(acked=add(r.acked, message))
    if claimed and r.paused:
        r = r._replace(wrong=PAUSED)
    for e in claimed:
        if e.delivery <= get(r.latest, e.id, 0) and get(r.stored, e.id, 0) == 1:
            r = r._replace(wrong="deliveries of a message strictly increase")
        r = r._replace(latest=put(r.latest, e.id, e.delivery))
    return r
