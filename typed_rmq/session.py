"""What a sync and an async session share: verdicts by policy, decoding, and what is reported."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback as tracebacks
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from . import commands, wire
from .commands import Command, CycleReply, ReapReply, Told, Verdict
from .core import ConsumerCore
from .errors import AlreadySettled, DataLossDetected, LeaseLost
from .events import Observers
from .keys import QueueKeys
from .losses import OnDataLoss, Past, Witness, loss_found
from .reports import Reports
from .retry import Retry
from .serializers.codec import Codec
from .steps import Cycle, Plan
from .watching import WatchedCore

T = TypeVar("T")

__all__ = ["Context", "EnvelopeDecoder", "Session"]

logger: Final = logging.getLogger("typed_rmq")

MAX_TRACEBACK: Final = 16 * 1024
MAX_ERROR: Final = 2 * 1024

CHORE_BUDGET: Final = 1.0
"""Seconds that a chore is tried for: the loop must not wait long for its lane, and the keeper
comes back. Only the loop's own calls use up the retry budget and raise."""

CHORE_PAUSE: Final = 0.5
"""Seconds until what failed is tried again."""

LEFT_BY_EXCEPTION: Final = "the loop was left while this message was being handled"
RETRY_CALLED: Final = "retry() was called"
TIMED_OUT: Final = "timeout: its handler took longer than {:g} s"
ABANDONED: Final = "the message was dropped without a verdict"
CONSUMER_FOUND: Final = (
    "What was in hand is settled as usual, and what was fetched goes back. Messages may be gone, "
    "and others that were done may come again"
)


@dataclass(frozen=True)
class Context(Generic[T]):
    """What all sessions of one queue object share."""

    keys: QueueKeys
    codec: Codec[T]
    retry: Retry
    keep_done: int
    keep_dead: int
    observers: Observers
    on_data_loss: OnDataLoss = "event"
    past: Past = field(default_factory=Past)


class EnvelopeDecoder(Generic[T]):
    """Envelope to payload; ``BadEnvelope`` or ``Undecodable`` say what is wrong with it."""

    __slots__ = ("_codec", "_loads", "_longest")

    def __init__(self, codec: Codec[T]) -> None:
        self._codec = codec
        self._loads = codec.loads
        self._longest = codec.max_payload

    def plain(self, envelope: bytes, start: int) -> T:
        """See ``core.Decoder``: the way of nearly all messages."""
        payload = envelope[start:]
        if len(payload) <= self._longest:
            try:
                return self._loads(payload)
            except Exception:  # noqa: BLE001 - validators may raise anything
                pass  # open() says what is wrong, without showing the payload
        return self._codec.open(None, payload, envelope[25:49])

    def decode(self, envelope: bytes) -> T:
        """See ``core.Decoder``."""
        head = wire.parse(envelope)
        headers = wire.decode_headers(envelope[head.headers_at : head.payload_at])
        return self._codec.open(headers.content_type, envelope[head.payload_at :], envelope[25:49])


class Session(Reports, ABC, Generic[T]):
    """One consuming session: the ``Owner`` of its messages, around a ``ConsumerCore``."""

    def __init__(self, context: Context[T], plan: Plan) -> None:
        super().__init__(context.keys.name, context.observers)
        self._context = context
        self._keys = context.keys
        decoder, hooks = EnvelopeDecoder(context.codec), context.observers.on_handling
        self._watching: WatchedCore[T] | None = None
        if hooks:
            self._watching = WatchedCore(
                plan, decoder, self, self, clock=time.monotonic, hooks=hooks
            )
        self.core: ConsumerCore[T] = self._watching or ConsumerCore(
            plan, decoder, self, self, clock=time.monotonic
        )
        self._drain_waits = False
        # When the keeper sends what was recorded, unless a claim has taken it along by then; None
        # where it knows of nothing to send. Public, as a loop asks for it with each message.
        self.armed_at: float | None = None
        self.loss: DataLossDetected | None = None
        self._witness = Witness(context.past)
        self._session_keys: tuple[bytes, commands.SessionKeys | None] = (b"", None)
        self.was_interrupted: bool = False
        self._closed = False
        self._connection_seen = 0

    @property
    def closed(self) -> bool:
        return self._closed

    # --- what the shells add

    @abstractmethod
    def recorded(self) -> None:
        """A verdict was recorded: see that it reaches Redis soon."""

    @abstractmethod
    def stop(self) -> None:
        """End after the message in hand."""

    @abstractmethod
    def settle(self, envelope: bytes) -> None:
        """Send the verdict now and wait for the answer."""

    @abstractmethod
    async def asettle(self, envelope: bytes) -> None:
        """The same for coroutines."""

    @abstractmethod
    def extend(self, envelope: bytes) -> None:
        """Renew the lease now."""

    # --- what happens to the shells

    def interrupted(self) -> None:
        """A second signal: what is in hand is not the message's fault."""
        self.was_interrupted = True
        self.stop()

    def _noticed_connection(self, generation: int) -> None:
        """A claim was answered: another connection than before means an outage between."""
        if generation != self._connection_seen:
            self._connection_seen = generation
            self.core.on_reconnect()

    # --- the owner of messages

    def ack(self, envelope: bytes) -> None:
        self.core.ack(envelope)
        self.recorded()

    def done(self, envelope: bytes) -> None:
        """Asking for the next message acks this one, unless it has a verdict already."""
        if self.core.done(envelope):
            self.recorded()

    def retry(self, envelope: bytes, delay: float | None) -> None:
        self._fail(envelope, None, RETRY_CALLED, delay)

    def reject(self, envelope: bytes, reason: str) -> None:
        self._verdict(envelope, Verdict(b"d", envelope[wire.FIELD], reason))

    def release(self, envelope: bytes) -> None:
        self._verdict(envelope, Verdict(b"R", envelope[wire.FIELD]))

    def let_go(self, envelope: bytes) -> None:
        """Release it as its loop is interrupted, and with it what was fetched and not started.

        Each call to Redis puts its messages before those of the last one: what is newer must not
        go later.
        """
        self.core.doubtful = True
        self.core.give_back()
        self.release(envelope)

    def fail(self, envelope: bytes, error: BaseException | None) -> None:
        what = ABANDONED if error is None else "its handler raised"
        self._fail(envelope, error, what, None)

    def left_by_exception(self, envelope: bytes) -> None:
        """A bare loop was left by an exception, which cannot be seen from here."""
        self._fail(envelope, None, LEFT_BY_EXCEPTION, None)

    def is_held(self, envelope: bytes) -> bool:
        return self.core.is_held(envelope)

    def is_lost(self, envelope: bytes) -> bool:
        return self.core.is_lost(envelope, time.monotonic())

    def entered(self, envelope: bytes) -> None:
        """The block of a received message is entered."""
        if self._watching is not None:
            self._watching.entered(envelope)

    def left(self, envelope: bytes, error: BaseException | None) -> None:
        """The code that handles a message has left it; an error may have."""
        if self._watching is not None:
            self._watching.left(envelope, error)

    def _verdict(self, envelope: bytes, verdict: Verdict) -> None:
        self.core.verdict(envelope, verdict)
        self.recorded()

    def _fail(
        self, envelope: bytes, error: BaseException | None, what: str, delay: float | None
    ) -> None:
        attempt, limit = int(envelope[17:21]), self._context.retry.max_attempts
        message_id = wire.shown(envelope[25:49])
        if self._context.retry.exhausted(attempt):
            text, trace = ("", "") if error is None else _describe(error)
            reason = f"{what} in attempt {attempt} of {limit}"
            verdict = Verdict(b"d", envelope[wire.FIELD], reason, text, trace)
            after = "it is a dead letter now"
        else:
            wait = self._context.retry.delay(attempt) if delay is None else delay
            verdict = Verdict(b"r", envelope[wire.FIELD], round(wait * 1000))
            after = f"it is tried again in {wait:.1f} s"
        self._verdict(envelope, verdict)
        if error is not None:
            logger.error(
                "queue %s: message %s failed in attempt %d of %d; %s",
                self.queue_name,
                message_id,
                attempt,
                limit,
                after,
                exc_info=error,
            )
        else:
            # retry() was the handler's own decision: nothing that somebody must look into.
            level = logging.INFO if what == RETRY_CALLED else logging.WARNING
            logger.log(
                level,
                "queue %s: message %s: %s, in attempt %d of %d; %s",
                self.queue_name,
                message_id,
                what,
                attempt,
                limit,
                after,
            )

    def park(self) -> None:
        """The loop was left, its context not yet: others may have what was not started."""
        self.core.stopping = True
        self.core.give_back()
        self.recorded()

    def next_chore(self, armed_at: float | None) -> float | None:
        """When the keeper has something to do; ``None`` while nothing is held or waits."""
        due = [] if armed_at is None else [armed_at]
        if self.core.holding:
            due.append(self.core.renewal_due())
            hand_back = self.core.hand_back_due()
            if hand_back is not None:
                due.append(hand_back)
            limit = self.core.plan.handler_timeout
            if limit is not None:
                # Also where nothing is in hand yet: what will be is looked at in time.
                due.append(self.core.longest_since(time.monotonic()) + limit)
        return min(due) if due else None

    def take_overdue(self) -> None:
        """Take what is past ``handler_timeout`` from its handler, as failed."""
        limit = self.core.plan.handler_timeout
        if limit is not None:
            for envelope in self.core.overdue(time.monotonic(), limit):
                self.timed_out(envelope, limit)

    def timed_out(self, envelope: bytes, limit: float) -> None:
        """Its handler has had its time, unless it has given a verdict just now."""
        with contextlib.suppress(AlreadySettled, LeaseLost):
            self._fail(envelope, None, TIMED_OUT.format(limit), None)

    def abandon_hands(self) -> None:
        """Whatever is still in hand counts as failed: nobody knows how far it got."""
        for envelope in self.core.in_hand():
            if self.core.is_held(envelope):
                self._fail(envelope, None, ABANDONED, None)

    # --- lost data

    def forgotten(self, told: Told, *, gone: bool) -> int:
        return self._witness.lost(told.epoch, told.seconds, told.n, gone=gone)

    def data_loss(self, lost: int) -> None:
        super().data_loss(lost)
        if self._context.on_data_loss == "raise":
            # Nothing more is started: what was fetched goes back, so that the loop comes round.
            self.loss = loss_found(self.queue_name, lost, CONSUMER_FOUND)
            self.core.give_back()
            self.recorded()

    def undecodable(self, envelope: bytes, reason: str) -> None:
        super().undecodable(envelope, reason)
        self.recorded()  # it must not wait until the message behind it is handled

    def raise_loss(self) -> None:
        """Raise what was found missing, once."""
        loss, self.loss = self.loss, None
        if loss is not None:
            self.core.give_back()  # also what a claim brought that was under way
            raise loss

    # --- commands

    def cycle_command(self, request: Cycle) -> Command[CycleReply]:
        """The call for a request, which has taken along all that was recorded before it."""
        # Cleared before looking: whoever records after this arms again. So a verdict lingers from
        # its own time on, and that of a busy loop never needs a call of its own.
        self.armed_at = None
        if self.core.pending:
            self.recorded()
        name, keys = self._session_keys
        if keys is None or request.session != name:
            keys = commands.SessionKeys(
                self._keys,
                request.session,
                lease_ms=round(self.core.plan.lease_in_redis * 1000),
                keep_dead=self._context.keep_dead,
                keep_done=self._context.keep_done,
            )
            self._session_keys = request.session, keys
        return commands.cycle(
            keys,
            request.n,
            want=request.want,
            held=request.held,
            way=request.way,
            closing=request.closing,
            acks=request.acks,
            verdicts=request.verdicts,
        )

    def reap_command(self, session: bytes) -> Command[ReapReply]:
        return commands.reap(
            self._keys,
            session,
            max_attempts=self._context.retry.max_attempts,
            keep_dead=self._context.keep_dead,
        )

    def renew_command(self, session: bytes) -> Command[bool]:
        return commands.renew(
            self._keys, session, lease_ms=round(self.core.plan.lease_in_redis * 1000)
        )


def _describe(error: BaseException) -> tuple[str, str]:
    """``Type: text`` and the traceback, both bounded, in UTF-8 that Redis can give back."""
    text = f"{type(error).__name__}: {error}"
    trace = "".join(tracebacks.format_exception(error))
    if len(trace) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2 - 16
        trace = f"{trace[:half]}\n[... cut ...]\n{trace[-half:]}"
    return _storable(text, MAX_ERROR), _storable(trace, MAX_TRACEBACK)


def _storable(text: str, limit: int) -> str:
    data = text.encode("utf-8", "backslashreplace")[:limit]
    return data.decode("utf-8", "ignore")
