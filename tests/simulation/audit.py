"""Whether Redis holds what the ledger says: every key of the queue, read in one atomic script."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typed_rmq.keys import QueueKeys

from .ledger import Ledger, ensure
from .server import SimServer

__all__ = ["Bell", "compare", "leftovers", "names"]

DUMP = """
local p, lists = ARGV[1], {}
for i, name in ipairs({ 'ready:high', 'ready:normal', 'ready:low', 'suspects' }) do
  lists[i] = redis.call('LRANGE', p .. name, 0, -1)
end
local held = {}
for _, key in ipairs(redis.call('KEYS', p .. 'inflight:*')) do
  held[#held + 1] = { string.sub(key, #p + 10), redis.call('HGETALL', key) }
end
local keys = {}
for _, key in ipairs(redis.call('KEYS', p .. 'dedup:*')) do
  keys[#keys + 1] = { string.sub(key, #p + 7), redis.call('GET', key) }
end
return {
  lists, redis.call('ZRANGE', p .. 'delayed', 0, -1, 'WITHSCORES'), held,
  redis.call('XRANGE', p .. 'dead', '-', '+'), redis.call('HGETALL', p .. 'dead:ids'),
  redis.call('HGETALL', p .. 'stats'), keys, redis.call('LLEN', p .. 'bell'),
  redis.call('ZRANGE', p .. 'sessions', 0, -1, 'WITHSCORES'), redis.call('HGETALL', p .. 'meta'),
}
"""

Bell = tuple[int, bool]
"""How often it is rung, and whether there is work that anybody could claim."""


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def compare(server: SimServer, keys: QueueKeys, ledger: Ledger) -> Bell:
    """Compare everything; a ``Violation`` names the first difference."""
    lists, delayed, held, dead, dead_ids, stats, dedup, bell, sessions, meta = server.command(
        "EVAL", DUMP, 0, keys.prefix
    )
    found: dict[str, list[bytes]] = {
        "ready": [e for some in lists[:3] for e in some],
        "suspect": lists[3],
        "delayed": delayed[::2],
        "held": [e for _, flat in held for e in flat[1::2]],
        "dead": [item[1][1] for item in dead],
    }
    expected: dict[str, list[bytes]] = {where: [] for where in found}
    for entry in ledger.entries.values():
        if entry.where in expected:
            expected[entry.where].append(entry.envelope)
    for where, envelopes in found.items():
        if Counter(envelopes) != Counter(expected[where]):
            extra = [e[:56] for e in (Counter(envelopes) - Counter(expected[where])).elements()]
            missing = [e[:56] for e in (Counter(expected[where]) - Counter(envelopes)).elements()]
            ensure(False, f"{where} holds other messages: too many, missing", extra, missing)
    for place, letter in ((lists[0], b"h"), (lists[1], b"n"), (lists[2], b"l")):
        ensure(all(e[14:15] == letter for e in place), "in the list of another priority")
    for envelope, score in _pairs(delayed).items():
        due = ledger.entries[envelope[25:49]].due
        ensure(int(score) == due, "due at another time", envelope[:56], score, due)
    for session, flat in held:
        mine = {one.fence: one.envelope for one in ledger.held.get(session, {}).values()}
        ensure(_pairs(flat) == mine, "held by another session", session)
    # A session may be known a while after it has let go; it must be while it holds.
    known = {name: int(score) for name, score in _pairs(sessions).items()}
    ensure(known == ledger.sessions, "other sessions or leases", known, ledger.sessions)
    index = {item[1][1][25:49]: item[0] for item in dead}
    ensure(_pairs(dead_ids) == index, "the index of the dead letters is another")
    counters = {name.decode(): int(value) for name, value in _pairs(stats).items()}
    window = counters.pop("window", ledger.window_ms)  # beside them: that of the last publish
    counters.pop("epoch", None)
    ensure(window == ledger.window_ms, "another window than that of the publishers", window)
    counters = {name: value for name, value in counters.items() if value}
    wanted = {name: value for name, value in ledger.counters.items() if value}
    ensure(counters == wanted, "counters", counters, wanted)
    theirs = {name: value[:24] for name, value in dedup}
    ours = {name: one.id for name, one in ledger.keys.items()}
    ensure(theirs == ours, "dedup keys", theirs, ours)
    ensure((_pairs(meta).get(b"paused") == b"1") == ledger.paused, "paused")
    return bell, bool(not ledger.paused and (found["ready"] or found["suspect"]))


def names(server: SimServer, keys: QueueKeys, where: str) -> set[bytes]:
    """The ids that wait, or that are dead."""
    lists, delayed, _, dead, *_ = server.command("EVAL", DUMP, 0, keys.prefix)
    if where == "dead":
        return {item[1][1][25:49] for item in dead}
    return {e[25:49] for some in lists for e in some} | {e[25:49] for e in delayed[::2]}


def leftovers(server: SimServer, keys: QueueKeys) -> list[bytes]:
    """Keys that an empty queue must not have: a lane and its counters may stay."""
    found: list[bytes] = server.command("KEYS", keys.prefix + b"*")
    lanes = keys.prefix + b"lane:"
    return sorted(key for key in found if key != keys.stats and not key.startswith(lanes))
