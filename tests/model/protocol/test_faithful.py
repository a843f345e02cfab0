"""The model's scripts beside the real ones: the same calls in the same order, step by step.

What the model proves is worth as much as the model is like the scripts. So random calls, also
repeated, late, and wrong ones, go to both, and after each the answers and all that Redis holds must
be the same.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from tests.lua.kit import Kit, Mutant, now_ms
from typed_rmq import commands, wire
from typed_rmq.commands import CycleReply, Verdict, Way

from . import administration
from . import redis_side as side
from .cycle import cycle, short
from .redis_side import Cycle, Envelope, Options, Redis
from .rules import ALL_ON

DELAYS = {0: 0, 1: 14_000, 3: 3_600_000}
"""A delay in the model's ticks, and in milliseconds: soon enough to be told, and not."""
SESSIONS = ("A", "B")
KEYS = "ab"


@dataclass
class Pair:
    """A queue in the model and on a server. Sessions and lanes have the same names in both."""

    kit: Kit
    rng: random.Random
    options: Options
    r: Redis = field(default_factory=Redis)
    ids: dict[bytes, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    taken: list[Envelope] = field(default_factory=list)

    # --- calls

    def number(self, lane: str) -> int:
        """Mostly the next one; sometimes one that was used, is old, or too high."""
        last = self.numbers.get(lane, 0)
        n = self.rng.choice([last + 1] * 8 + [last, last - 1, last + 3])
        n = max(1, n)
        self.numbers[lane] = max(last, n)
        return n

    def publish(self) -> None:
        n, key = self.number("p"), self.rng.choice(KEYS)
        delay = self.rng.choice([0, 0, 0, 0, 1, 3])
        message = self.kit.new_id()
        self.ids[message] = f"{len(self.ids):04}{key}"
        deduped = self.options.dedup != "off"
        envelope = self.kit.envelope(
            b"x",
            key=key if deduped else None,
            until_done=self.options.dedup == "done",
            message_id=message,
        )
        # Envelopes sort by their millisecond; the model's by their id.
        time.sleep(0.0015)
        reply = self.kit.store(
            [envelope], lane=b"p", n=n, delay=DELAYS[delay], max_length=self.options.bound
        )
        off, name = ALL_ON, self.ids[message]
        self.r, (status, answer, lost) = side.publish(
            self.r, off, self.options, "p", n, (name,), delay
        )
        text = answer or ""
        if text not in ("", "full"):
            text = ",".join(f"{index}={self.real(first).decode()}" for index, first in answer)
        assert (reply.status, reply.answer) == (status, text)
        assert reply.lost == lost

    def cycle(self) -> None:
        session = self.rng.choice(SESSIONS)
        n, held = self.number(session), side.get(self.r.inflight, session, ())
        known = [*held, *held, *self.taken[-4:]]
        judged = self.rng.sample(known, min(len(known), self.rng.choice([0, 1, 1, 2])))
        acks: list[Envelope] = []
        verdicts: list[tuple[str, Envelope, int]] = []
        for e in dict.fromkeys(judged):
            kind = self.rng.choice("aaaarrRd")
            if kind == "a" and self.options.dedup != "done":
                acks.append(e)
            else:
                verdicts.append((kind, e, self.rng.choice([0, 1, 3]) if kind == "r" else 0))
        believed = max(len(held), len(acks)) if self.rng.random() < 0.9 else self.rng.randrange(4)
        call = Cycle(
            n,
            session,
            self.rng.choice([0, 1, 1, 2, 3]),
            believed,
            tuple(e.field for e in acks),
            tuple((kind, e.field, delay) for kind, e, delay in verdicts),
            self.rng.random() < 0.06,
        )
        ways: tuple[Way, ...] = ("long", "short", "woken")
        # A client goes the short way only so.
        plain = call.want and not call.verdicts and not call.closing
        way = self.rng.choice(ways) if plain else "long"
        reply = self.kit.run(
            self.kit.cycle_command(
                session.encode(),
                n=n,
                want=call.want,
                held=believed,
                acks=[self.fence(e.field) for e in acks],
                verdicts=[self.verdict(*one) for one in verdicts],
                closing=call.closing,
                way=way,
            )
        )
        brief = None
        if way != "long":
            brief = short(self.r, ALL_ON, self.options, call, woken=way == "woken")
        self.r, expected = brief or cycle(self.r, ALL_ON, self.options, call)
        self.taken += expected.envelopes
        self.compare(reply, expected)

    def compare(self, reply: CycleReply, expected: side.CycleReply) -> None:
        assert reply.status == expected.status
        assert [self.read(e) for e in reply.envelopes] == list(expected.envelopes) or (
            sorted(self.read(e) for e in reply.envelopes) == sorted(expected.envelopes)
            and reply.status != "new"
        )
        assert reply.stale == tuple(self.fence(one) for one in expected.stale)
        assert (reply.reaped, reply.lost, reply.drain) == (
            expected.reaped,
            expected.lost,
            expected.drain,
        )
        assert tuple(name.decode() for name in reply.expired) == expected.expired
        if reply.status in ("new", "lost"):
            # In the model a wait is a number of ticks; all that counts is that it is not now.
            assert (reply.wait is None) == (expected.wait < 0)
            assert (reply.wait == 0) == (expected.wait == 0)

    def verdict(self, kind: str, e: Envelope, delay: int) -> Verdict:
        fence = self.fence(e.field)
        if kind == "r":
            return Verdict(b"r", fence, DELAYS[delay])
        if kind == "d":
            return Verdict(b"d", fence, "no good")
        return Verdict(b"a", fence, 1) if kind == "a" else Verdict(b"R", fence)

    def reap(self) -> None:
        session = self.rng.choice(SESSIONS)
        reply = self.kit.reap(session.encode(), max_attempts=self.options.max_attempts)
        self.r, state = side.reap(self.r, ALL_ON, self.options, session)
        assert reply.state == state

    def expire(self) -> None:
        session = self.rng.choice(SESSIONS)
        if side.get(self.r.sessions, session) is not None:
            self.kit.expire(session.encode())
            self.r = side.expire(self.r, session)

    def due(self) -> None:
        """All that is delayed comes due, in the order of the model, which knows no milliseconds."""
        client, delayed = self.kit.client, self.kit.keys.delayed
        for number, member in enumerate(sorted(client.zrange(delayed, 0, -1), key=self.read)):
            client.zadd(delayed, {member: 1 + number})
        self.r = self.r._replace(delayed=tuple(sorted((0, e) for _, e in self.r.delayed)))

    def administer(self) -> None:
        what = self.rng.choice(["pause", "resume", "resume", "purge", "redrive", "redrive"])
        name = "control" if what in ("pause", "resume") else what
        n = self.number(name)
        off, o, keys, lane = ALL_ON, self.options, self.kit.keys, self.kit.keys.lane(name.encode())
        if what == "purge":
            self.r, _ = administration.purge(self.r, off, o, name, n)
            self.kit.run(commands.purge(keys, lane, n))
        elif what == "redrive":
            # A client sends an old number to nobody but as a late duplicate, whose answer no one
            # reads; so does this.
            n = max(n, side.get(self.r.lanes, name, (0,))[0])
            self.r, _ = administration.redrive(self.r, off, o, name, n)
            window = 60_000 if o.dedup == "window" else 0
            self.kit.run(commands.redrive(keys, lane, n, window_ms=window))
        else:
            self.r, _ = administration.control(self.r, off, name, n, paused=what == "pause")
            self.kit.run(commands.control(keys, lane, n, paused=what == "pause"))

    def listen(self) -> None:
        """Somebody blocks on the bell."""
        assert bool(self.kit.client.lpop(self.kit.keys.bell)) == self.r.bell
        self.r = self.r._replace(bell=False)

    # --- what both hold

    def real(self, name: str) -> bytes:
        return next(real for real, known in self.ids.items() if known == name)

    def fence(self, one: side.Field) -> bytes:
        return b"%b:%06d" % (self.real(one[0]), one[1])

    def read(self, envelope: bytes) -> Envelope:
        head = wire.parse(envelope)
        return Envelope(self.ids[head.id.encode()], head.delivery, head.attempt, bool(head.suspect))

    def same(self) -> None:
        client, keys, r = self.kit.client, self.kit.keys, self.r
        assert [self.read(e) for e in client.lrange(keys.ready[1], 0, -1)] == list(r.ready)
        assert [self.read(e) for e in client.lrange(keys.suspects, 0, -1)] == list(r.suspects)
        delayed = [self.read(e) for e in client.zrange(keys.delayed, 0, -1)]
        assert sorted(delayed) == sorted(e for _, e in r.delayed)
        # What is due soon stays so, however slow this machine is.
        soon = {e for due, e in r.delayed if due == 1}
        for member in client.zrange(keys.delayed, 0, -1):
            if self.read(member) in soon:
                client.zadd(keys.delayed, {member: now_ms() + DELAYS[1]}, xx=True)
        for session in SESSIONS:
            held = client.hvals(keys.inflight(session.encode()))
            assert sorted(map(self.read, held)) == sorted(side.get(r.inflight, session, ()))
            score: Any = client.zscore(keys.sessions, session)
            expired = None if score is None else score <= now_ms()
            deadline = side.get(r.sessions, session)
            assert expired == (None if deadline is None else deadline <= 0)
        for lane in (*SESSIONS, "p", "control", "purge", "redrive"):
            stored = client.get(keys.lane(lane.encode()))
            known = side.get(r.lanes, lane)
            assert (stored is None) == (known is None)
            if isinstance(stored, bytes) and known is not None:
                assert int(stored.split(b" ")[0]) == known[0]
        assert [self.read(e) for e, _ in self.kit.dead()] == list(r.dead)
        assert self.kit.rung() == r.bell
        assert self.kit.counter("completed") == r.completed
        for key in KEYS:
            holder = self.kit.dedup(key)
            assert (None if holder is None else self.ids[holder[:24]]) == side.get(r.keys, key)


MODES = [
    Options(),
    Options(dedup="window"),
    Options(dedup="done"),
    Options(bound=3),
]


NAMES = ["plain", "window", "until done", "bounded"]


@pytest.mark.parametrize("options", MODES, ids=NAMES)
def test_the_scripts_do_what_the_model_does(
    options: Options, client: redis.Redis, queue_name: str
) -> None:
    for seed in range(2):
        side_by_side(Kit(client, f"{queue_name}-{seed}"), options, seed)


@pytest.mark.slow
@pytest.mark.parametrize("options", MODES, ids=NAMES)
def test_the_scripts_do_what_the_model_does_for_longer(
    options: Options, client: redis.Redis, queue_name: str
) -> None:
    for seed in range(2, 12):
        side_by_side(Kit(client, f"{queue_name}-{seed}"), options, seed)


@pytest.mark.slow
@pytest.mark.servers("valkey")
@pytest.mark.parametrize(
    "mutant",
    [
        Mutant("cycle", "left_over + suspects_left > 0\nlocal", "left_over > 1\nlocal"),
        Mutant("reap", "size == 1 and attempt + 1 or attempt", "attempt + 1"),
        Mutant("enqueue", "if ring and #new > 0 then", "if #new > 0 then"),
    ],
    ids=str,
)
def test_a_script_that_differs_is_seen(
    mutant: Mutant, client: redis.Redis, queue_name: str
) -> None:
    with pytest.raises(AssertionError):
        for seed in range(30):
            side_by_side(Kit(client, f"{queue_name}-{seed}", mutant), Options(), seed)


def side_by_side(kit: Kit, options: Options, seed: int) -> None:
    pair = Pair(kit, random.Random(seed), options)
    steps = [pair.publish] * 5 + [pair.cycle] * 9 + [pair.reap, pair.expire, pair.expire]
    steps += [pair.due, pair.administer, pair.listen]
    done: list[str] = []
    try:
        for _ in range(60):
            step = pair.rng.choice(steps)
            done.append(step.__name__)
            try:
                step()
                pair.same()
            except AssertionError as error:
                error.add_note(f"seed {seed}, after {' '.join(done[-12:])}")
                raise
    finally:
        for key in kit.client.scan_iter(match=kit.keys.prefix + b"*", count=1000):
            kit.client.delete(key)
