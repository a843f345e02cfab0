"""A consumer core that tells observers when the handling of a message begins and ends.

It takes the place of the plain core where an observer overrides ``handling``, so that a queue that
nobody watches pays nothing. Handling begins where a message is handed out, and ends where the code
that has it leaves it: a verdict in the middle of a block is noted, and does not end it.

The beginning of a message that ``receive`` returned is told when its block is entered
(``received.py``): how far it goes without a block cannot be known.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, TypeVar

from . import wire
from .commands import Verdict
from .core import ConsumerCore
from .deliveries import Decoder, Report
from .events import Ended, Handled, Handling, Outcome, begin
from .message import Delivery, Message, Owner
from .steps import Plan

T = TypeVar("T")

__all__ = ["WatchedCore"]

OUTCOMES: Final[dict[bytes, Outcome]] = {
    b"a": "done",
    b"r": "retried",
    b"R": "released",
    b"d": "dead",
}
"""The kinds of verdicts, see ``cycle.lua``."""


class Watched(Message[T]):
    """A message whose owner is told when its block is left."""

    __slots__ = ()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            return super().__exit__(kind, error, traceback)
        finally:
            self._owner.left(self.envelope, error)


class _Under:
    """A message that is being handled: what to call at the end, and its verdict so far."""

    __slots__ = ("end", "outcome")

    def __init__(self, end: Callable[[Handled], None]) -> None:
        self.end = end
        self.outcome: Outcome | None = None


class WatchedCore(ConsumerCore[T], Generic[T]):
    """See the module's text; ``hooks`` are the observers' ``handling`` methods."""

    def __init__(
        self,
        plan: Plan,
        decoder: Decoder[T],
        owner: Owner,
        report: Report,
        *,
        clock: Callable[[], float],
        hooks: tuple[Callable[[Handling], Ended[Handled]], ...],
    ) -> None:
        super().__init__(plan, decoder, owner, report, clock=clock)
        self.message_type: type[Message[T]] = Watched
        self._hooks = hooks
        self._handled: dict[bytes, _Under] = {}

    def take(self, now: float) -> Message[T] | None:
        message = super().take(now)
        if isinstance(message, Watched):
            self.entered(message.envelope)
        return message

    def advance(self, envelope: bytes, now: float) -> Message[T] | None:
        self.done(envelope)
        return self.take(now)

    def entered(self, envelope: bytes) -> None:
        """Its handling begins, unless it has begun before."""
        field = envelope[wire.FIELD]
        if field in self._hands and field not in self._handled:
            event = Handling(self.plan.queue, Delivery(envelope))
            self._handled[field] = _Under(begin(self._hooks, event))

    def left(self, envelope: bytes, error: BaseException | None) -> None:
        """Its handling has ended."""
        under = self._handled.pop(envelope[wire.FIELD], None)
        if under is not None:
            under.end(Handled(under.outcome, error))

    def _note(self, field: bytes, outcome: Outcome) -> None:
        under = self._handled.get(field)
        if under is not None:
            under.outcome = outcome

    # --- verdicts

    def done(self, envelope: bytes) -> bool:
        # A loop goes on: this acks the message before, and leaves it in any case.
        acked = super().done(envelope)
        if acked:
            self._note(envelope[wire.FIELD], "done")
        self.left(envelope, None)
        return acked

    def ack(self, envelope: bytes) -> None:
        if not super().done(envelope):
            self._raise_settled(envelope[wire.FIELD])
        self._note(envelope[wire.FIELD], "done")

    def verdict(self, envelope: bytes, verdict: Verdict) -> None:
        super().verdict(envelope, verdict)
        self._note(envelope[wire.FIELD], OUTCOMES[verdict.kind])

    def forget_all(self) -> None:
        super().forget_all()
        self._handled.clear()
