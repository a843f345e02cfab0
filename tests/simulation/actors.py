"""The virtual clients: producers, consumers, and somebody who administers.

They use the real parts: ``Producer`` and its lanes, ``ConsumerCore`` within a ``Session``. What
the shells of sync and async do around them is done here step by step, as the scheduler says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typed_rmq import commands
from typed_rmq.commands import CycleReply
from typed_rmq.core import ConsumerCore
from typed_rmq.errors import QueueFull
from typed_rmq.message import Message
from typed_rmq.producer import Batch, Lane, PublishOptions
from typed_rmq.session import EnvelopeDecoder, Session
from typed_rmq.steps import Cycle, Drain, Plan, Reap, Stop, Wait

from .ledger import Call, ensure

if TYPE_CHECKING:
    from .world import World

__all__ = ["Administrator", "Consumer", "Crashed", "Decoder", "Publisher", "Unanswered"]


class Crashed(Exception):
    """This client is dead from here on."""


class Unanswered(Exception):
    """No reply came: the request may have been done."""


class Decoder(EnvelopeDecoder[int]):
    """Some payloads cannot be read: the consumer has an older version of the type."""

    def plain(self, envelope: bytes, start: int) -> int:
        return self._checked(super().plain(envelope, start))

    def decode(self, envelope: bytes) -> int:
        return self._checked(super().decode(envelope))

    def _checked(self, number: int) -> int:
        if number % 29 == 28:
            raise ValueError("unknown to this version")
        return number


class LaneUser:
    """Whoever sends numbered calls from a pool of lanes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lanes: list[Lane] = []
        self.open: Call | None = None
        self.lane: Lane | None = None
        self.tries = 0

    def take_lane(self) -> Lane:
        lane = self.lanes.pop() if self.lanes else Lane(token=self.world.token(b"lane"))
        self.lane = lane
        return lane

    def answered(self) -> None:
        assert self.lane is not None
        self.lanes.append(self.lane)
        self.given_up()

    def given_up(self) -> None:
        """The lane's number is not known to be used: it never returns."""
        self.open = self.lane = None
        self.tries = 0


class Publisher(LaneUser):
    """Publishes batches, one at a time."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.blocked_until = 0

    def step(self) -> bool:
        """Whether it did anything."""
        world = self.world
        if self.open is None:
            if world.draining or world.real < self.blocked_until or self._enough():
                return False
            self._begin()
        assert self.open is not None
        try:
            reply = world.send(self.open)
        except Unanswered:
            self.tries += 1
            if world.rng.random() < 0.05 and not world.draining:
                self.given_up()  # the budget is used up
            return True
        except QueueFull:
            if self.tries == 0:  # else an earlier request may still be on its way
                world.ledger.refused.update(self.open.body[0].ids)
            self.given_up()
            return True
        self._learn(reply)
        return True

    def _enough(self) -> bool:
        return len(self.world.ledger.live) > self.world.backlog

    def _begin(self) -> None:
        rng, producer = self.world.rng, self.world.parts.producer
        explicit = self.world.parts.producer.window_ms and rng.random() < 0.3
        options = producer.options(
            delay=None if rng.random() < 0.75 else rng.choice([0.001, 0.5, 3.0, 20.0]),
            at=None,
            priority=rng.choice(("normal", "normal", "normal", "high", "low")),
            headers=None,
            dedup_key=f"key-{rng.randrange(6)}" if explicit else None,
        )
        size = 1 if rng.random() < 0.5 else rng.randint(2, self.world.batch)
        size = min(size, producer.largest_batch)
        payloads = [rng.randrange(self.world.variety) for _ in range(size)]
        lane = self.take_lane()
        self._call(producer.pack(lane, payloads, options, None), options)

    def _call(self, batch: Batch, options: PublishOptions) -> None:
        assert self.lane is not None
        command = self.world.parts.producer.command(self.lane, batch, options)
        lane = self.world.parts.keys.lane(self.lane.token)
        self.open = Call("publish", command, lane, self.lane.number, (batch, options))

    def _learn(self, reply: commands.PublishReply) -> None:
        world, call = self.world, self.open
        assert call is not None
        ensure(reply.status != "old", "a producer was told that its call is old")
        batch: Batch = call.body[0]
        try:
            receipts = world.parts.producer.receipts(batch, reply)
        except QueueFull:
            ensure(
                not any(one in world.ledger.entries for one in batch.ids),
                "QueueFull was raised for what is stored",
            )
            world.ledger.refused.update(batch.ids)
            self.answered()
            return
        if receipts is None:  # overflow="block": the same batch again, as a new call
            self.blocked_until = world.real + 500
            options = call.body[1]
            self.tries = 0
            if world.draining or world.rng.random() < 0.1:
                self.answered()
            else:
                self._call(batch, options)
            return
        for mine, receipt in zip(batch.ids, receipts, strict=True):
            ensure(receipt.id.encode() in world.ledger.entries, "a receipt for nothing", receipt)
            ensure((mine in world.ledger.entries) != receipt.duplicate, "a false receipt", receipt)
        world.receipts += len(receipts)
        self.answered()


class Administrator(LaneUser):
    """Pauses, resumes, redrives, and purges now and then."""

    def step(self) -> bool:
        world = self.world
        if self.open is None:
            if world.draining:
                return False
            self.begin(world.rng.choice(("control", "control", "redrive", "purge", "dead_purge")))
        assert self.open is not None
        try:
            world.send(self.open)
        except Unanswered:
            return True
        except QueueFull:
            self.given_up()
            return True
        self.answered()
        return True

    def begin(self, kind: str, paused: bool | None = None) -> None:
        world, rng = self.world, self.world.rng
        keys, lane = world.parts.keys, self.take_lane()
        where, n = keys.lane(lane.token), lane.next_number()
        command: Any
        body: Any = None
        if kind == "control":
            body = rng.random() < 0.3 if paused is None else paused
            command = commands.control(keys, where, n, paused=body)
        elif kind == "redrive":
            window = world.parts.producer.window_ms
            command = commands.redrive(keys, where, n, window_ms=window, limit=rng.choice([2, 500]))
        elif kind == "purge":
            command = commands.purge(keys, where, n, limit=rng.choice([1, 3]))
        else:
            command = commands.dead_purge(keys, where, n)
        self.open = Call(kind, command, where, n, body)


@dataclass
class Hand:
    """A message that is being handled, what will come of it, and when."""

    message: Message[int]
    end: str
    at: int


class Consumer(Session[int]):
    """A consumer with some handlers, at the scheduler's mercy."""

    core: ConsumerCore[int]
    closed: bool = False

    def __init__(self, world: World, plan: Plan, concurrency: int) -> None:
        super().__init__(world.parts.context, plan)
        self.world = world
        self.offset = world.rng.uniform(0, 1e6)
        self.core = ConsumerCore(
            plan,
            Decoder(world.parts.codec),
            self,
            self,
            clock=self.now,
            token=lambda: world.token(b"session"),
        )
        self.concurrency = concurrency
        self.hands: list[Hand] = []
        self.open: tuple[Cycle, Call] | None = None
        self.wait: Wait | None = None
        self.wake_at = 0
        self.reaping: Call | None = None
        self.frozen_until = 0
        self.closing = False
        self.tries = 0
        self.rung = False
        self.hurried = False

    def now(self) -> float:
        """Its own clock, in seconds; nothing may depend on where that stands."""
        return self.offset + self.world.real / 1000

    # --- what a shell adds to a session

    def recorded(self) -> None:
        pass

    def stop(self) -> None:
        self.core.stopping = True

    def settle(self, envelope: bytes) -> None:
        raise AssertionError("no simulated handler asks for this")

    async def asettle(self, envelope: bytes) -> None:
        raise AssertionError("no simulated handler asks for this")

    def extend(self, envelope: bytes) -> None:
        raise AssertionError("no simulated handler asks for this")

    def is_lost(self, envelope: bytes) -> bool:
        return self.core.is_lost(envelope, self.now())

    # --- steps

    def step(self) -> bool:
        """Whether it did anything."""
        world = self.world
        if self.closed or world.real < self.frozen_until:
            return False
        finished = self._finish_hands()
        if self.wait is not None and not self._awake():
            return self._chores() or finished
        if self.open is None and self.reaping is None and self._chores():
            return True
        if self.core.stopping and self.open is None and (self.hurried or not self.hands):
            # In a hurry, close() is called while its handlers are at work still.
            self.closing = True
        free = len(self.hands) < self.concurrency
        if self.closing and self.open is None:
            self._say_goodbye()
        elif free and self._take():
            return True
        elif self.open is not None:
            self._send_cycle()
        elif self.reaping is not None:
            self._send_reap(self.reaping)
        elif free:
            return self._decide() or finished
        else:
            return finished
        return True

    def _finish_hands(self) -> bool:
        finished = False
        for hand in list(self.hands):
            if self.world.real < hand.at:
                continue
            self.hands.remove(hand)
            finished = True
            message = hand.message
            if not message.held:
                continue  # the lease was lost: this is what `lease_lost` tells a handler
            if hand.end == "ack":
                message.ack()
            elif hand.end == "fail":
                self.fail(message.envelope, RuntimeError("the handler failed"))
            elif hand.end == "retry":
                message.retry(self.world.rng.choice([0.0, 0.2, 4.0]))
            elif hand.end == "reject":
                message.reject("no good")
            else:
                message.release()
        return finished

    def _awake(self) -> bool:
        """Whether the wait is over; a ring is taken off the bell by one only."""
        wait, world = self.wait, self.world
        assert wait is not None
        if self.core.stopping and wait.then is None:
            self.wait = None
            return True
        rung = world.take_ring()
        if not rung and world.real < self.wake_at and not self.core.stopping:
            return False
        self.wait = None
        self.rung = self.rung or rung
        if wait.then is not None:
            self.open = (wait.then, self._call_of(wait.then))
        return True

    def _chores(self) -> bool:
        """What the keeper does beside the loop; returns whether a call was made."""
        core, rng = self.core, self.world.rng
        lane_is_free = self.open is None and not (self.wait is not None and self.wait.then)
        due = core.hand_back_due()
        if due is not None and self.now() > due and rng.random() < 0.5:
            core.hand_back()
        if core.holding and self.now() >= core.renewal_due() and rng.random() < 0.7:
            return self._renew()
        if lane_is_free and core.pending and rng.random() < 0.2:
            request = core.begin(self.now())
            if request is not None:
                self.open = (request, self._call_of(request))
                self._send_cycle()
                return True
        return False

    def _renew(self) -> bool:
        session = self.core.session
        if session is None:
            return False
        sent_at = self.now()
        call = Call("renew", self.renew_command(session), body=session)
        try:
            alive = self.world.send(call)
        except (Unanswered, QueueFull):
            return True
        self.core.on_renewed(session, sent_at, self.now(), alive=alive)
        return True

    def _take(self) -> bool:
        message = self.core.take(self.now())
        if message is None:
            return False
        rng, world = self.world.rng, self.world
        ensure(message.attempt <= world.max_attempts, "delivered beyond its attempts")
        if world.draining:
            end, lasts = "ack", 0
        else:
            ends = ("ack", "fail", "retry", "reject", "release")
            end = rng.choices(ends, world.endings)[0]
            lasts = rng.choices((0, 30, 2_000, world.lease_ms * 2), (60, 30, 8, 2))[0]
        self.hands.append(Hand(message, end, world.real + lasts))
        if self.core.low and self.open is None and self.reaping is None and self.wait is None:
            request = self.core.ahead(self.now())
            if request is not None:
                self.open = (request, self._call_of(request))
                self._send_cycle()
        return True

    def _decide(self) -> bool:
        step = self.core.next(self.now())
        if isinstance(step, Cycle):
            self.open = (step, self._call_of(step))
            self._send_cycle()
        elif isinstance(step, Wait):
            self.wait = step
            self.wake_at = self.world.real + round(step.seconds * 1000)
        elif isinstance(step, Reap):
            self._send_reap(Call("reap", self.reap_command(step.session), body=step.session))
        elif isinstance(step, Stop):
            if self.core.stopping:
                return False  # it waits for its handlers
            self.core.stopping = True
        else:
            assert isinstance(step, Drain)
            return False
        return True

    def _say_goodbye(self) -> None:
        self.core.give_back()
        request = self.core.begin(self.now(), closing=True)
        if request is None:
            self.closed = True
            return
        self.open = (request, self._call_of(request))
        self._send_cycle()

    # --- calls

    def _call_of(self, request: Cycle) -> Call:
        lane = self.world.parts.keys.lane(request.session)
        return Call("cycle", self.cycle_command(request), lane, request.n, request)

    def _send_cycle(self) -> None:
        assert self.open is not None
        request, call = self.open
        try:
            reply: CycleReply = self.world.send(call)
        except (Unanswered, QueueFull):
            self.tries += 1
            self.core.on_reconnect()
            if self.world.rng.random() < 0.3:
                self.open = None  # the budget is used up: the core must know what to send again
            if self.closing and self.tries > 5 and not self.world.draining:
                raise Crashed from None  # it leaves without a goodbye
            return
        self.tries = 0
        self.open = None
        ensure(reply.status != "old", "a consumer was told that its call is old")
        self.core.on_reply(request, reply, self.now())
        if request.want or request.closing:
            self.rung = False
        if request.closing:
            self.closed = True

    def data_loss(self, lost: int) -> None:
        ensure(False, "a consumer was told of lost data, and nothing is lost here", lost)

    def _send_reap(self, call: Call) -> None:
        try:
            reply = self.world.send(call)
        except (Unanswered, QueueFull):
            self.reaping = call
            return
        self.reaping = None
        self.reaped(call.body, reply)
