"""The scheduler: who acts next, and what goes wrong.

A seed decides everything. An episode is a queue with a few producers and consumers on one server,
for some hundreds of steps; in each step one client acts, which is a call to Redis most of the time.
Each call meets one of: an answer, a lost request, a lost reply, a late duplicate (the same bytes
arrive again some steps later), the client's crash before or after it, a step of the server's
clock, SCRIPT FLUSH, a full memory, foreign counters. Then the faults stop, everything must drain
within lease plus backoff, and Redis must be as empty as before.

What differs between episodes (how many clients, which options, how often what fails) is drawn
from the seed as well, so that every mixture comes up.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.lua.kit import Mutant
from tests.servers import RunningServer
from typed_rmq import Dedup, Queue, Retry
from typed_rmq.commands import FULL
from typed_rmq.errors import QueueFull
from typed_rmq.keys import QueueKeys
from typed_rmq.producer import Overflow
from typed_rmq.steps import Plan

from .actors import Administrator, Consumer, Crashed, Publisher, Unanswered
from .audit import compare, leftovers, names
from .ledger import Call, Ledger, Violation, ensure
from .server import Refused, SimServer

__all__ = ["Failure", "Tally", "World", "play"]

QUEUE = "sim"
START = 1_800_000_000_000
CHECK_EVERY = 25
FAULTS = (
    "answer",
    "request lost",
    "reply lost",
    "late duplicate",
    "crash before",
    "crash after",
    "clock step",
    "script flush",
    "out of memory",
    "foreign counters",
)


@dataclass
class Tally:
    """What was done so far."""

    episodes: int = 0
    steps: int = 0
    calls: int = 0
    audits: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    deliveries: int = 0

    def add(self, other: Tally) -> None:
        self.episodes += other.episodes
        self.steps += other.steps
        self.calls += other.calls
        self.audits += other.audits
        self.faults.update(other.faults)
        self.messages += other.messages
        self.deliveries += other.deliveries


class Failure(AssertionError):
    """An episode that broke a promise; its text says how to play it again."""

    def __init__(self, text: str, tally: Tally) -> None:
        super().__init__(text)
        self.tally = tally


class World:
    """One episode."""

    def __init__(self, server: SimServer, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.server = server
        self.tally = Tally(episodes=1)
        self.draining = self.closing = False
        self.real = START
        self.skew = 0
        self.idle = 0
        self.tokens = 0
        self.receipts = 0
        self.ring_lost = False
        self.late: list[Call] = []
        self.trace: list[str] | None = None

        self.max_attempts = rng.choice([1, 2, 3, 5])
        self.batch = rng.choice([2, 4, 8, 30])
        self.variety = rng.choice([6, 40, 4000])
        self.endings = rng.choice([(70, 10, 5, 5, 10), (97, 1, 1, 0, 1), (30, 25, 15, 10, 20)])
        lease = rng.choice([1.0, 10.0, 60.0])
        dedup: Dedup[int] | None = rng.choice([None, Dedup(window=30.0), Dedup(until="done")])
        bounds: list[tuple[int | None, Overflow]] = [(None, "raise")] * 4
        bounds += [(12, "raise"), (12, "block"), (12, "drop_oldest")]
        max_length, overflow = rng.choice(bounds)
        self.retry = Retry(self.max_attempts, backoff=rng.choice([0, 1.0, 5.0]), jitter="none")
        queue = Queue[int](
            QUEUE,
            "unix:///nowhere",
            dedup=dedup,
            retry=self.retry,
            lease=lease,
            max_length=max_length,
            overflow=overflow,
            # Nothing is lost here, so nobody may say so.
            on_data_loss="raise",
        )
        self.parts = queue._parts
        self.plan = Plan(QUEUE, lease=lease, prefetch=rng.choice(["auto", 1, 2, 7, 40]))
        self.lease_ms = round(lease * 1000)
        self.ledger = Ledger(
            max_attempts=self.max_attempts,
            lease_ms=round(self.plan.lease_in_redis * 1000),
            window_ms=self.parts.producer.window_ms,
            max_length=max_length or 0,
        )
        # How often what goes wrong: none of it in some episodes, a lot in others.
        level = rng.choice([0.0, 0.3, 1.0, 3.0])
        usual = (6, 7, 5, 0.7, 0.7, 1, 1, 0.7, 1)
        self.weights = (
            100.0,
            *(share * level * rng.choice([0, 1, 1, 2]) for share in usual),
        )
        self.hurry = rng.choice([0.02, 0.1, 0.3])
        self.meddle = rng.choice([0.0, 0.01, 0.1])
        self.jump = rng.choice([0.002, 0.02])
        self.freeze = rng.choice([0.002, 0.02])
        self.arrival = rng.choice([0.01, 0.05, 0.3])
        # From idle consumers that wait for the bell to a backlog.
        self.publishing = rng.choice([0.03, 0.1, 0.2, 0.35])
        self.backlog = rng.choice([4, 20, 90])
        self.publishers = [Publisher(self) for _ in range(rng.randint(1, 3))]
        self.administrator = Administrator(self)
        self.consumers = [self._consumer() for _ in range(rng.randint(1, 4))]

    def _consumer(self) -> Consumer:
        return Consumer(self, self.plan, concurrency=self.rng.choice([1, 1, 1, 2, 4]))

    def token(self, start: bytes) -> bytes:
        """A name that nobody else has: 16 letters, as real ones."""
        self.tokens += 1
        return b"%b%0*d" % (start, 16 - len(start), self.tokens)

    def note(self, *what: object) -> None:
        if self.trace is not None:
            self.trace.append(
                f"{self.tally.steps:6} {self.real - START:9} {' '.join(map(str, what))}"
            )

    # --- calls

    def send(self, call: Call) -> Any:
        """The reply, or ``Unanswered``, ``QueueFull``, ``Crashed``."""
        fault = "answer"
        if not self.draining:
            fault = self.rng.choices(FAULTS, self.weights)[0]
        self.tally.faults[fault] += 1
        self.note(call.kind, call.lane.decode(), call.n, "->", fault)
        if fault == "request lost":
            if self.rng.random() < 0.5:
                self.late.append(call)
            raise Unanswered
        if fault == "crash before":
            raise Crashed
        if fault == "script flush":
            self.server.command("SCRIPT", "FLUSH")
        if fault == "clock step":
            self.skew += self.rng.choice([-1, 1]) * self.rng.choice([5, 900, self.lease_ms * 2])
            self._set_clock()
        if fault == "out of memory":
            return self._without_memory(call)
        if fault == "foreign counters":
            return self._with_foreign_counters(call)
        reply = self.execute(call)
        if fault == "late duplicate":
            self.late.append(call)
        if fault == "reply lost":
            raise Unanswered
        if fault == "crash after":
            raise Crashed
        return reply

    def execute(self, call: Call) -> Any:
        """Redis does it, and the ledger knows."""
        self.tally.calls += 1
        try:
            reply = self.server.run(call.command)
        except ValueError:
            # The answer to a late redrive has no text, and no client ever reads it.
            ensure(call.kind == "redrive" and self.ledger.standing(call) == "old", "not readable")
            reply = None
        self.note("   ", reply)
        booked = reply
        if call.kind == "purge":
            booked = (reply, names(self.server, self.parts.keys, "waiting"))
        elif call.kind == "redrive":
            booked = (reply, names(self.server, self.parts.keys, "dead"))
        self.ledger.executed(call, booked, self.server.now)
        self.listen()
        return reply

    def _without_memory(self, call: Call) -> Any:
        """Redis refuses what could need more; acks and claims are sent again, and must pass."""
        self.server.command("CONFIG", "SET", "maxmemory", 1)
        try:
            return self.execute(call)
        except Refused as refused:
            ensure("OOM" in str(refused), "another error than out of memory", str(refused))
            self.audit()
            if call.command.full_at is None:
                raise QueueFull("out of memory", queue="sim") from None
            call.command.args[call.command.full_at] = FULL
            return self.execute(call)
        finally:
            self.server.command("CONFIG", "SET", "maxmemory", 0)

    def _with_foreign_counters(self, call: Call) -> Any:
        """Somebody wrote text over the counters: nothing may be half done."""
        stats, fields = (
            self.parts.keys.stats,
            ("published", "duplicates", "completed", "failed", "purged"),
        )
        before = self.server.command("HMGET", stats, *fields)
        for name in fields:
            self.server.command("HSET", stats, name, "x")
        refused = False
        try:
            self.execute(call)
        except Refused as error:
            ensure("CORRUPT" in str(error), "another error than a corrupt queue", str(error))
            refused = True
        finally:
            for name, value in zip(fields, before, strict=True):
                if value is None:
                    self.server.command("HDEL", stats, name)
                else:
                    self.server.command("HSET", stats, name, value)
        if refused:
            self.audit()
            if call.kind == "publish":
                raise QueueFull("corrupt", queue="sim")
        raise Unanswered

    def take_ring(self) -> bool:
        """Take a token off the bell, as a blocked consumer does."""
        return self.server.take_ring()

    # --- time

    def _set_clock(self) -> None:
        now = max(self.real + self.skew, START - 10_000_000)
        self.server.set_clock(now)
        for key, holder in list(self.ledger.keys.items()):
            if holder.until is not None and holder.until <= now:
                self.server.command("DEL", self.parts.keys.dedup + key)
                del self.ledger.keys[key]

    def advance(self, milliseconds: int) -> None:
        self.real += milliseconds
        self._set_clock()

    # --- steps

    def step(self) -> None:
        """One client acts."""
        rng = self.rng
        if rng.random() < self.hurry:
            self.advance(rng.choice([1, 5, 40, 300, 2_000]))
        if rng.random() < self.jump:
            self.advance(rng.randrange(self.lease_ms))
        if self.late and rng.random() < self.arrival:
            call = self.late.pop(rng.randrange(len(self.late)))
            self.tally.faults["arrived late"] += 1
            self.note("late", call.kind, call.lane.decode(), call.n)
            self.execute(call)
        if rng.random() < self.meddle:
            acted = self._step_client(self.administrator)
        elif rng.random() < self.publishing:
            acted = self._step_client(rng.choice(self.publishers))
        else:
            acted = self._step_consumer(rng.randrange(len(self.consumers)))
        self.idle = 0 if acted else self.idle + 1
        if not acted:
            self.advance(self.idle)
        elif self.tally.steps % CHECK_EVERY == 0:
            self.audit()

    def _step_client(self, client: Publisher | Administrator) -> bool:
        acted = True
        try:
            acted = client.step()
        except Crashed:
            self.tally.faults["crashed"] += 1
            client.lanes.clear()  # whoever comes after it has lanes of its own
            client.given_up()
        self.tally.steps += acted
        return acted

    def _step_consumer(self, index: int) -> bool:
        """Whether it did anything: only that counts as a step."""
        rng, consumer = self.rng, self.consumers[index]
        if not self.draining and self.real >= consumer.frozen_until:
            # A call that got no answer may well be of a machine that stands still.
            stuck = consumer.tries and rng.random() < 0.1
            if stuck or rng.random() < self.freeze:
                consumer.frozen_until = self.real + rng.randrange(2 * self.lease_ms)
                self.tally.faults["frozen"] += 1
            if rng.random() < 0.002:
                consumer.stop()
                consumer.hurried = rng.random() < 0.3
        acted = True
        try:
            acted = consumer.step()
        except Crashed:
            self.tally.faults["crashed"] += 1
            self.note("crashed", consumer.core.session)
            # It may have taken the ring that was meant for all; they look by themselves, later.
            self.ring_lost = self.ring_lost or consumer.rung
            self.consumers[index] = self._consumer()
        else:
            if consumer.closed and not self.closing:
                self.consumers[index] = self._consumer()
        self.tally.steps += acted
        return acted

    def audit(self) -> None:
        """Everything in Redis is as it must be, and nobody sleeps beside work."""
        self.tally.audits += 1
        bell, work = compare(self.server, self.parts.keys, self.ledger)
        ensure(bell <= 1, "the bell is rung more than once", bell)
        ensure(work == self.work, "whether there is work", work)

    @property
    def work(self) -> bool:
        """Whether there is something that an idle consumer could claim now."""
        return not self.ledger.paused and any(
            one.where in ("ready", "suspect") for one in self.ledger.live.values()
        )

    def listen(self) -> None:
        """Nobody sleeps beside work: the bell is rung, or somebody who took the ring is coming."""
        if self.server.bell or not self.work:
            self.ring_lost = False
        elif not self.ring_lost:
            coming = any(one.rung for one in self.consumers)
            ensure(coming, "there is work, and the bell is silent")

    # --- the end

    def drain(self) -> None:
        """Faults stop: everything is handled within lease plus backoff, and Redis is empty."""
        self.draining = True
        for consumer in self.consumers:
            consumer.frozen_until = 0
            for hand in consumer.hands:
                hand.at = 0
        self.skew, self.late = max(self.skew, 0), []
        self._set_clock()
        self.administrator.given_up()
        self.administrator.begin("control", paused=False)
        self.administrator.step()
        for publisher in self.publishers:
            while publisher.open is not None:
                publisher.step()
        latest = max([self.server.now, *(one.due for one in self.ledger.waiting())])
        latest = max([latest, *self.ledger.sessions.values()])
        patience = 4 * self.lease_ms + 60_000
        bound = latest + patience
        self.note("drain")
        while self.ledger.live:
            left = [(one.fence, one.where) for one in self.ledger.live.values()][:10]
            ensure(self.server.now < bound, "it does not drain", left)
            self._let_all_act()
        self.audit()
        self._close()

    def _let_all_act(self) -> None:
        acted = [self._step_consumer(index) for index in range(len(self.consumers))]
        self.advance(1 if any(acted) else max(1, self.lease_ms // 50))

    def _close(self) -> None:
        self.administrator.begin("dead_purge")
        self.administrator.step()
        rounds = 0
        while self.ledger.sessions or any(one.core.session for one in self.consumers):
            rounds += 1
            ensure(rounds < 2_000, "sessions are left", self.ledger.sessions)
            if not set(self.ledger.sessions) - {one.core.session for one in self.consumers}:
                self.closing = True  # only now: till then they look after those who crashed
                for consumer in self.consumers:
                    consumer.stop()
            self._let_all_act()
        self.audit()
        windows = [one.until for one in self.ledger.keys.values() if one.until is not None]
        self.advance(max([0, *(until - self.server.now for until in windows)]))
        left = leftovers(self.server, self.parts.keys)
        left = [key for key in left if key != self.parts.keys.bell]
        if self.parts.producer.overflow == "block":
            left = [key for key in left if key not in (self.parts.keys.room, self.parts.keys.meta)]
        ensure(not left, "keys are left", left)
        stored = Counter(one.where for one in self.ledger.entries.values())
        ensure(
            set(stored) <= {"done", "purged", "dropped"}, "not all of it is accounted for", stored
        )
        self.tally.messages = len(self.ledger.entries)
        self.tally.deliveries = self.ledger.deliveries


@contextmanager
def _quiet() -> Iterator[None]:
    """Failing handlers and lost leases are what this is about: nobody reads of each."""
    logger = logging.getLogger("typed_rmq")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def play(
    running: RunningServer,
    seed: int,
    steps: int,
    *,
    mutants: Sequence[Mutant] = (),
    trace: list[str] | None = None,
) -> Tally:
    """Play one episode; ``Failure`` names the seed and the step."""
    server = SimServer(running, QueueKeys(QUEUE).bell, mutants)
    try:
        server.command("FLUSHALL")
        server.set_clock(START)
        world = World(server, seed)
        world.trace = trace
        with _quiet():
            try:
                while world.tally.steps < steps:
                    world.step()
                world.drain()
            except (Violation, Refused, ValueError) as problem:
                raise Failure(
                    f"seed {seed}, step {world.tally.steps}: {problem}\n"
                    f"Again with its trace: make replay SEED={seed}",
                    world.tally,
                ) from problem
        return world.tally
    finally:
        server.close()
