"""The scripts against a plain Python model, step by step, in whatever order Hypothesis finds.

After every step one atomic look at Redis must show what the model holds: every message in exactly
one place, with its delivery, attempt, and mark; the counters; the dedup keys; the index of the
dead letters; and a bell whenever somebody could claim something.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.lua.kit import Kit, Mutant, now_ms
from tests.servers import KINDS
from typed_rmq import Queue, wire
from typed_rmq.commands import Verdict

from .queue_model import PRIORITIES, Message, Model

KEYS = [f"key{number}" for number in range(4)]
MAX_ATTEMPTS = 3
HOUR = 3_600_000

AUDIT = """
local p = KEYS[1]
local sessions, held = redis.call('ZRANGE', p .. 'sessions', 0, -1), {}
local named = {}
for _, s in ipairs(sessions) do named[s] = true end
for _, s in ipairs(ARGV) do
  held[#held + 1] = redis.call('HGETALL', p .. 'inflight:' .. s)
  if not named[s] and #held[#held] > 0 then held[#held] = { 'held without a session', '' } end
end
local keys = {}
for i = 1, 4 do
  keys[i] = redis.call('GET', p .. 'dedup:' .. 'key' .. (i - 1) .. string.rep('_', 18))
end
local lists = {}
for i, name in ipairs({ 'ready:high', 'ready:normal', 'ready:low', 'suspects' }) do
  lists[i] = redis.call('LRANGE', p .. name, 0, -1)
end
return {
  lists, redis.call('ZRANGE', p .. 'delayed', 0, -1), held,
  redis.call('XRANGE', p .. 'dead', '-', '+'), redis.call('HGETALL', p .. 'dead:ids'),
  redis.call('HGETALL', p .. 'stats'), keys, redis.call('LLEN', p .. 'bell'),
}
"""


def head(envelope: bytes) -> tuple[str, int, int, bool]:
    found = wire.parse(envelope)
    return found.id, found.delivery, found.attempt, found.suspect


class Machine(RuleBasedStateMachine):
    client: redis.Redis
    mutant: Mutant | None = None

    @initialize()
    def begin(self) -> None:
        self.kit = Kit(self.client, f"model-{uuid.uuid4().hex}", self.mutant)
        self.queue = Queue[str](self.kit.name, self.client)
        self.model = Model()
        self.sessions = [b"a0", b"b0", b"c0"]
        self.retired: list[bytes] = []
        self.last_publish: tuple[list[bytes], dict[str, Any], str] | None = None
        self.fences: list[bytes] = [b"idididididididid00000000:000001"]
        self.deliveries: dict[str, int] = {}
        self.due = 1

    def teardown(self) -> None:
        if hasattr(self, "kit"):
            found = list(self.client.scan_iter(match=self.kit.keys.prefix + b"*", count=1000))
            self.client.delete("none", *found)

    # --- steps

    @rule(
        keys=st.lists(st.one_of(st.none(), st.sampled_from(KEYS)), min_size=1, max_size=4),
        priority=st.sampled_from(PRIORITIES),
        until_done=st.booleans(),
        delayed=st.booleans(),
        bound=st.sampled_from([0, 0, 0, 3, 8]),
        drop=st.booleans(),
    )
    def publish(
        self,
        keys: list[str | None],
        priority: Any,
        until_done: bool,
        delayed: bool,
        bound: int,
        drop: bool,
    ) -> None:
        # A key is always of one kind, as it is of one queue.
        new: list[Message] = []
        envelopes: list[bytes] = []
        for key in keys:
            kind = until_done if key is None else key in KEYS[:2]
            identity = self.kit.new_id()
            envelopes.append(
                self.kit.envelope(
                    b"x", priority=priority, key=key, until_done=kind, message_id=identity
                )
            )
            new.append(Message(identity.decode(), PRIORITIES.index(priority), key, kind))
        options: dict[str, Any] = {
            "delay": HOUR if delayed else 0,
            "max_length": bound,
            "overflow": "drop_oldest" if drop else "raise",
        }
        before = now_ms()
        reply = self.kit.store(envelopes, **options)
        due = before + HOUR if delayed else None
        expected = self.model.publish(new, due, bound, drop)
        assert (reply.status, reply.answer) == ("new", expected)
        self.last_publish = (envelopes, options, expected)
        self.learn()

    @precondition(lambda self: self.last_publish is not None)
    @rule()
    def repeat_publish(self) -> None:
        assert self.last_publish is not None
        envelopes, options, answer = self.last_publish
        reply = self.kit.store(envelopes, n=self.kit.numbers[b"producer"], **options)
        assert (reply.status, reply.answer) == ("again", answer)

    @rule(back=st.integers(1, 5))
    def late_publish(self, back: int) -> None:
        number = self.kit.numbers.get(b"producer", 0) - back
        if number > 0:
            reply = self.kit.store([self.kit.envelope(b"late")], n=number)
            assert reply.status == "old"

    @rule(which=st.integers(0, 5))
    def some_become_due(self, which: int) -> None:
        found = self.model.due_first()[: which + 1]
        for message in found:
            self.due += 1
            self.client.zadd(self.kit.keys.delayed, {message.envelope: self.due})
            self.model.delayed = [
                (self.due if one is message else at, one) for at, one in self.model.delayed
            ]

    @rule(
        who=st.integers(0, 2),
        want=st.integers(0, 4),
        kinds=st.lists(
            st.sampled_from(["ack", "ack", "retry", "later", "release", "dead", "keep"]),
            max_size=4,
        ),
        plain=st.booleans(),
        known=st.booleans(),
        stale=st.booleans(),
        repeats=st.integers(0, 2),
    )
    def cycle(
        self,
        who: int,
        want: int,
        kinds: list[str],
        plain: bool,
        known: bool,
        stale: bool,
        repeats: int,
    ) -> None:
        session = self.sessions[who]
        held = list(self.model.held.get(session, []))
        chosen = [(k, m.fence) for k, m in zip(kinds, held, strict=False) if k != "keep"]
        until_done = {m.fence for m in held if m.until_done and m.key is not None}
        acks = [f for k, f in chosen if k == "ack" and plain and f not in until_done]
        rest = [(k, f) for k, f in chosen if f not in acks]
        if stale:
            current = {one.fence for one in held}
            old = [fence for fence in self.fences if fence not in current]
            rest.append(("ack", old[len(self.fences) % len(old)]))
        letters: dict[str, Any] = {
            "ack": (b"a", 0), "retry": (b"r", 0), "later": (b"r", HOUR),
            "release": (b"R", b""), "dead": (b"d", "reason"),
        }  # fmt: skip
        options: dict[str, Any] = {
            "want": want,
            "acks": acks,
            "verdicts": [Verdict(letters[k][0], f, letters[k][1]) for k, f in rest],
            "held": len(held) if known and not stale else -1,
        }
        now = now_ms()
        reply = self.kit.cycle(session, **options)
        claimed, gone, drain = self.model.cycle(
            session, want, [*(("ack", fence) for fence in acks), *rest], now, now + HOUR
        )
        assert reply.status in ("new", "short")
        assert not reply.reaped
        assert list(reply.stale) == gone
        assert reply.drain == drain
        assert [head(e) for e in reply.envelopes] == [one.head() for one in claimed]
        for one in claimed:
            assert one.delivery > self.deliveries.get(one.id, 0), "deliveries must grow"
            self.deliveries[one.id] = one.delivery
            self.fences.append(one.fence)
        self.learn()
        for _ in range(repeats):
            again = self.kit.cycle(session, n=self.kit.numbers[session], **options)
            assert (again.status, again.stale) == ("again", reply.stale)
            mine = {one.head() for one in self.model.held[session]}
            assert {head(e) for e in again.envelopes} == mine

    @precondition(lambda self: any(self.model.held.get(name) for name in self.sessions))
    @rule(kind=st.sampled_from(["ack", "retry", "release", "dead"]))
    def a_verdict(self, kind: str) -> None:
        """Where something is held; left to chance, that comes together too seldom."""
        who = next(who for who, name in enumerate(self.sessions) if self.model.held.get(name))
        self.cycle(who=who, want=1, kinds=[kind], plain=False, known=True, stale=False, repeats=0)

    @precondition(lambda self: self.retired)
    @rule(which=st.integers(0, 10), want=st.integers(0, 2))
    def a_reaped_session_comes_back(self, which: int, want: int) -> None:
        session = self.retired[which % len(self.retired)]
        acks = self.fences[-2:]
        reply = self.kit.cycle(session, want=want, acks=acks, held=len(acks))
        assert reply.reaped
        assert (list(reply.stale), reply.envelopes) == (acks, [])
        self.model.counters["stale"] += len(acks)

    @rule(who=st.integers(0, 2))
    def crash(self, who: int) -> None:
        session = self.sessions[who]
        if session not in self.model.held:
            return
        assert self.kit.reap(session, max_attempts=MAX_ATTEMPTS).state == "renewed"
        reply = self.kit.crash(session, max_attempts=MAX_ATTEMPTS)
        assert reply.state == "reaped"
        returned, buried = self.model.reap(session, MAX_ATTEMPTS)
        assert (list(reply.returned), list(reply.buried)) == (returned, buried)
        assert self.kit.reap(session).state == "gone"
        self.retired.append(session)
        self.sessions[who] = session[:1] + b"%d" % len(self.retired)
        self.learn()

    @rule(some=st.one_of(st.none(), st.lists(st.integers(0, 9), min_size=1, max_size=3)))
    def redrive(self, some: list[int] | None) -> None:
        ids: list[str] = []
        if some is not None:
            if not self.model.dead:
                return
            ids = [self.model.dead[index % len(self.model.dead)].id for index in some]
            # In the order of the stream, as the model keeps it; one of them twice.
            ids = [one.id for one in self.model.dead if one.id in ids]
            ids.append(ids[0])
        reply = self.kit.redrive(*ids)
        moved, conflicts = self.model.redrive(set(ids) if ids else None)
        assert (reply.redriven, list(reply.conflicts)) == (moved, conflicts)
        self.learn()

    @rule(limit=st.sampled_from([1, 2, 1000]))
    def purge(self, limit: int) -> None:
        reply = self.kit.purge(limit=limit)
        assert (reply.deleted, reply.left) == self.model.purge(limit)
        again = self.kit.purge(limit=limit, n=self.kit.numbers[b"admin"])
        assert again == ("again", reply.deleted, reply.left)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.kit.pause(paused)
        self.model.paused = paused

    # --- looking

    def learn(self) -> None:
        """Take over the envelopes' bytes: the order of equal times is that of the bytes."""
        known: dict[str, bytes] = {}
        for envelope in self.everything():
            known[wire.parse(envelope).id] = envelope
        model = self.model
        held = [one for some in model.held.values() for one in some]
        waiting = [one for some in model.ready for one in some] + model.suspects + held
        for message in waiting + [one for _, one in model.delayed] + model.dead:
            message.envelope = known.get(message.id, b"")
        scores = dict(self.client.zrange(self.kit.keys.delayed, 0, -1, withscores=True))
        model.delayed = [
            (int(scores[one.envelope]), one) for _, one in model.delayed if one.envelope in scores
        ]

    def everything(self) -> list[bytes]:
        lists, delayed, held, dead, *_ = self.audit()
        found = [envelope for some in lists for envelope in some] + delayed
        found += [envelope for some in held for envelope in some[1::2]]
        return found + [entry[1][1] for entry in dead]

    def audit(self) -> Any:
        call: Any = self.client.eval
        return call(AUDIT, 1, self.kit.keys.prefix, *self.sessions, *self.retired)

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "kit"):
            return
        model = self.model
        lists, delayed, held, dead, dead_ids, stats, keys, bell = self.audit()
        for found, expected in zip(lists, [*model.ready, model.suspects], strict=True):
            assert [head(e) for e in found] == [one.head() for one in expected]
        assert [head(e) for e in delayed] == [one.head() for one in model.due_first()]
        for session, found in zip([*self.sessions, *self.retired], held, strict=True):
            expected_held = {one.fence: one.head() for one in model.held.get(session, [])}
            pairs = dict(zip(found[::2], found[1::2], strict=True))
            assert {fence: head(e) for fence, e in pairs.items()} == expected_held
        assert [head(entry[1][1]) for entry in dead] == [one.head() for one in model.dead]
        index = dict(zip(dead_ids[::2], dead_ids[1::2], strict=True))
        assert index == {entry[1][1][25:49]: entry[0] for entry in dead}
        counters = {
            name.decode(): int(value)
            for name, value in zip(stats[::2], stats[1::2], strict=True)
            if int(value)
        }
        for beside in ("window", "epoch"):  # that of the last publish, and of the first
            counters.pop(beside, None)
        assert counters == {name: value for name, value in model.counters.items() if value}
        assert [None if value is None else value.decode() for value in keys] == [
            model.keys.get(key) for key in KEYS
        ]
        # No loss, no invention.
        in_flight = sum(map(len, model.held.values()))
        assert model.stored == model.waiting() + in_flight + len(model.dead) + model.gone
        assert bell <= 1
        if any(lists) and not model.paused:
            assert bell == 1, "somebody sleeps beside work"

    @invariant()
    def the_queues_own_audit_finds_nothing(self) -> None:
        if hasattr(self, "kit"):
            audit = self.queue.audit()
            assert audit.steps == 1
            assert not audit.findings
            assert audit.messages == self.model.stored - self.model.gone


BOUNDED = settings(
    max_examples=150,
    stateful_step_count=35,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.servers("valkey")
def test_model(client: redis.Redis) -> None:
    machine = type("Bound", (Machine,), {"client": client})
    run_state_machine_as_test(machine, settings=BOUNDED)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_model_for_longer(client: redis.Redis, server_kind: str, part: int) -> None:
    """200 longer examples on each server, others on each, in parts that processes can share."""
    machine = type("Bound", (Machine,), {"client": client})
    if settings.default.derandomize:  # each part has a seed of its own: not the same examples
        machine = seed(2 * list(KINDS).index(server_kind) + part)(machine)
    run_state_machine_as_test(
        machine, settings=settings(BOUNDED, max_examples=100, stateful_step_count=60)
    )


PLANTED = {
    "no fence": Mutant(
        "cycle",
        "local trusted = size == held and acks <= size and lost == 0 and not reaped",
        "local trusted = true",
    ),
    "no operation number": Mutant(
        "publish", "if n == number then return 'again'", "if false then return 'again'"
    ),
    "ack by id alone": Mutant("cycle", "  if not e or judged[field] then", "  if false then"),
    "a release is not fenced anew": Mutant(
        "cycle",
        "local again = head_next(e, head_attempt(e), head_suspect(e) and 's' or '-')",
        "local again = e",
    ),
    "dead letters are lost": Mutant(
        "cycle", "for _, letter in ipairs(letters) do bury(dead, dead_ids, letter) end\n", ""
    ),
    "keys are not freed": Mutant(
        "cycle", "if #owned > 0 then redis.call('DEL', unpack(owned)) end", ""
    ),
    "the bell is not passed on": Mutant(
        "cycle", "local work = not paused and left_over + suspects_left > 0", "local work = false"
    ),
}


@pytest.mark.slow
@pytest.mark.servers("valkey")
@pytest.mark.parametrize("name", PLANTED)
def test_the_model_notices(name: str, client: redis.Redis) -> None:
    """The checker checks itself: planted faults are found, by name."""
    machine = type("Bound", (Machine,), {"client": client, "mutant": PLANTED[name]})
    with pytest.raises((AssertionError, redis.ResponseError)):
        run_state_machine_as_test(
            machine,
            settings=settings(
                BOUNDED,
                max_examples=300,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                database=None,
                verbosity=Verbosity.quiet,
                derandomize=True,
            ),
        )
