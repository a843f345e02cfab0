"""What was fetched is handed out: decoded, one by one, while the lease holds.

This is the path of every message, so ``take`` and ``advance`` say the same twice: one frame of
Python less for each message of a bare loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from . import wire
from .commands import Told, Verdict
from .hands import Hands, drained
from .message import Message, Owner
from .prefetch import Prefetch
from .steps import Cycle, Plan

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

__all__ = ["AHEAD", "Decoder", "Deliveries", "Report"]

AHEAD: Final = 16
"""From so many messages on, the next batch is claimed while one is handled: below, the handler is
slow, or there is little to do."""

_FIELD = wire.FIELD
_HEAD = wire.HEAD
_DIGEST = wire.DIGEST
_MODES = wire.MODES
_KIND = wire.KIND
SUSPECT: Final = ord("s")


class Decoder(Protocol[T_co]):
    """Turns envelopes into payloads; raises what says why it cannot."""

    def decode(self, envelope: bytes, /) -> T_co:
        """The payload of any envelope."""
        ...

    def plain(self, envelope: bytes, start: int, /) -> T_co:
        """The same for one without headers, whose payload begins at ``start``."""
        ...


class Report:
    """What the shell tells the observers; the default tells nobody."""

    def claimed(self, envelopes: list[bytes], seconds: float) -> None: ...

    def settled(self, request: Cycle, stale: tuple[bytes, ...], seconds: float) -> None: ...

    def lease_lost(self, fields: list[bytes]) -> None: ...

    def data_loss(self, lost: int) -> None: ...

    def forgotten(self, told: Told, *, gone: bool) -> int:
        """How many operations Redis has lost, where it does not know the session's lane."""
        return 0

    def undecodable(self, envelope: bytes, reason: str) -> None: ...


class Deliveries(Hands, Generic[T]):
    """The messages that were fetched, and the hands that take them."""

    def __init__(
        self,
        plan: Plan,
        decoder: Decoder[T],
        owner: Owner,
        report: Report,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(
            plan.queue,
            clock,
            timed=plan.keep_done > 0,
            limited=plan.handler_timeout is not None,
        )
        self.prefetch: Prefetch = Prefetch(plan.prefetch)
        self.message_type: type[Message[T]] = Message
        self.stopping: bool = False
        self.lease_until: float = 0.0
        self._decoder = decoder
        self._plain = decoder.plain
        self._owner = owner
        self._report = report
        self._buffer: deque[bytes] = deque()
        # Most messages of a queue have the same kind of head: what follows from it is kept.
        # In one piece, as several threads take messages.
        self._usual: tuple[bytes, int] = (b"", 0)
        self._delivered = 0
        self._batch_at = 0.0
        # With so few messages left, the next ones are claimed; see `ConsumerCore.ahead`.
        self._low_at = -1
        self.low: bool = False

    @property
    def busy(self) -> bool:
        """Whether a lease must be kept, or a verdict waits to be sent or for its answer."""
        return bool(self._hands or self._buffer) or self.unanswered

    @property
    def handed_out(self) -> int:
        """How many messages it has handed out."""
        return self._delivered

    def take(self, now: float) -> Message[T] | None:
        """The next message that was fetched already, if there is one and the lease holds."""
        while self._buffer:
            if self.stopping or now > self.lease_until:
                # Nobody starts these any more, or others own them by now: giving them back is
                # right in either case.
                self.give_back()
                return None
            try:
                envelope = self._buffer.popleft()
            except IndexError:  # another thread was faster
                return None
            field = envelope[_FIELD]
            try:
                usual, start = self._usual
                if envelope[_KIND] == usual:
                    payload = self._decoder.plain(envelope, start)
                else:
                    payload = self._unusual(envelope, field)
            except Exception as error:  # noqa: BLE001 - validators may raise anything
                self._bury(envelope, error)
                continue
            except BaseException:  # a KeyboardInterrupt: it was not started
                self._buffer.appendleft(envelope)
                raise
            self._hands[field] = envelope
            if self._since is not None:
                self.noted_since(field, now)
            self._delivered += 1
            if len(self._buffer) == self._low_at:
                self.low = True
            return self.message_type(payload, envelope, self._owner)
        return None

    def advance(self, envelope: bytes, now: float) -> Message[T] | None:
        """``done`` and ``take`` in one frame: what a bare loop does with nearly every message."""
        field = envelope[_FIELD]
        if self._hands.pop(field, None) is not None:
            if self._plain_acks and self._suspect is None:
                self._acks.append(field)
            else:
                self._acked(field)
        if not self._buffer:
            return None
        if self.stopping or now > self.lease_until or self._since is not None:
            return self.take(now)
        try:
            envelope = self._buffer.popleft()
        except IndexError:  # handed back by the keeper, just now
            return None
        usual, start = self._usual
        try:
            if envelope[_KIND] != usual:
                self._buffer.appendleft(envelope)
                return self.take(now)
            payload = self._plain(envelope, start)
        except Exception as error:  # noqa: BLE001 - validators may raise anything
            self._bury(envelope, error)
            return self.take(now)
        except BaseException:  # a KeyboardInterrupt: it was not started
            self._buffer.appendleft(envelope)
            raise
        self._hands[envelope[_FIELD]] = envelope
        self._delivered += 1
        if len(self._buffer) == self._low_at:
            self.low = True
        return self.message_type(payload, envelope, self._owner)

    def _unusual(self, envelope: bytes, field: bytes) -> T:
        """The payload of a message whose head is not like that of the one before."""
        kind, mode = envelope[_KIND], envelope[16]
        suspect, until_done = envelope[15] == SUSPECT, mode in b"dD"
        if suspect:
            self._suspect = field
        if until_done:
            # Such an ack must free the dedup key, so Redis has to look at the envelope.
            self._plain_acks = False
        if not (suspect or until_done) and mode in _MODES and envelope[21:25] == b"0000":
            self._usual = (kind, _HEAD + _DIGEST * _MODES[mode])
        return self._decoder.decode(envelope)

    def _bury(self, envelope: bytes, error: Exception) -> None:
        """What cannot be decoded never reaches the handler, and never stops the loop."""
        reason = str(error) or type(error).__name__
        self._no_suspect(envelope[_FIELD])
        self._verdicts.append(Verdict(b"d", envelope[_FIELD], reason))
        self._report.undecodable(envelope, reason)

    def give_back(self) -> None:
        """Release what was fetched and not started: at once, uncounted, in its order."""
        for envelope in drained(self._buffer):
            self._verdicts.append(Verdict(b"R", envelope[_FIELD]))
            self._no_suspect(envelope[_FIELD])
        self._batch_at = 0.0

    @property
    def fetched(self) -> bool:
        """Whether there are messages to take."""
        return bool(self._buffer)

    @property
    def holding(self) -> bool:
        """Whether messages are in somebody's hands or fetched."""
        return bool(self._hands or self._buffer)

    def is_lost(self, envelope: bytes, now: float) -> bool:
        """Whether this consumer no longer owns the message, or cannot be sure that it does."""
        field = envelope[_FIELD]
        return field in self._lost or (field in self._hands and now > self.lease_until)
