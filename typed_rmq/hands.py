"""The messages in a consumer's hands, and the verdicts on them that wait to be sent.

Verdicts are recorded by whoever holds a message, from any thread: each is one ``dict.pop``, which
lets only the first verdict through, and one ``deque.append``; both are atomic, so that recording
takes no lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NoReturn, TypeVar

from . import wire
from .commands import Verdict
from .errors import AlreadySettled, LeaseLost, TypedRMQError
from .steps import Cycle

Item = TypeVar("Item")

__all__ = ["Hands", "drained"]

MAX_LOST: Final = 10_000

_FIELD: Final = wire.FIELD


class Hands:
    """What was handed out and what was decided about it.

    Args:
        queue: the queue's name, for errors.
        clock: seconds; only for the durations in the log of completions.
        timed: whether that log is kept.
        limited: whether a message may be in somebody's hands only for so long.
    """

    def __init__(
        self, queue: str, clock: Callable[[], float], *, timed: bool, limited: bool = False
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._hands: dict[bytes, bytes] = {}
        self._since: dict[bytes, float] | None = {} if timed or limited else None
        self._acks: deque[bytes] = deque()
        self._verdicts: deque[Verdict] = deque()
        self._open: Cycle | None = None
        self._lost: set[bytes] = set()
        self._suspect: bytes | None = None
        self._plain_acks = not timed

    # --- verdicts, from any thread

    def done(self, envelope: bytes) -> bool:
        """Ack a message that has no verdict yet; returns whether this was the verdict."""
        field = envelope[_FIELD]
        if self._hands.pop(field, None) is None:
            return False
        self._acked(field)
        return True

    def _acked(self, field: bytes) -> None:
        self._no_suspect(field)
        if self._plain_acks:
            self._acks.append(field)
        else:
            self._verdicts.append(Verdict(b"a", field, self._duration(field)))

    def ack(self, envelope: bytes) -> None:
        """Ack a message; ``AlreadySettled`` or ``LeaseLost`` where it has a verdict."""
        if not self.done(envelope):
            self._raise_settled(envelope[_FIELD])

    def verdict(self, envelope: bytes, verdict: Verdict) -> None:
        """Any verdict but an ack."""
        if self._hands.pop(verdict.field, None) is None:
            self._raise_settled(verdict.field)
        self._no_suspect(verdict.field)
        if self._since is not None:
            self._since.pop(verdict.field, None)
        self._verdicts.append(verdict)

    def _duration(self, field: bytes) -> int:
        """Milliseconds since it was handed out."""
        since = None if self._since is None else self._since.pop(field, None)
        return 0 if since is None else max(0, round((self._clock() - since) * 1000))

    def _no_suspect(self, field: bytes) -> None:
        if field == self._suspect:
            self._suspect = None

    # --- for how long

    def noted_since(self, field: bytes, now: float) -> None:
        """It was handed out just now; only where somebody wants to know."""
        assert self._since is not None
        self._since[field] = now
        # A plain ack leaves its entry behind, so that it need not look for one.
        if len(self._since) > 2 * len(self._hands) + 100:
            for old in list(self._since):
                if old not in self._hands:
                    self._since.pop(old, None)

    def overdue(self, now: float, limit: float) -> list[bytes]:
        """The envelopes that have been in hand for ``limit`` seconds and longer."""
        return [
            envelope
            for field, since in list((self._since or {}).items())
            if now - since >= limit and (envelope := self._hands.get(field)) is not None
        ]

    def longest_since(self, now: float) -> float:
        """When the first of what is in hand was handed out; now where nothing is."""
        return min(
            (at for field, at in list((self._since or {}).items()) if field in self._hands),
            default=now,
        )

    # --- asking

    def is_held(self, envelope: bytes) -> bool:
        """Whether it was handed out and has no verdict."""
        return envelope[_FIELD] in self._hands

    def check_held(self, envelope: bytes) -> None:
        """``AlreadySettled`` or ``LeaseLost`` for a message that is not in hand."""
        if envelope[_FIELD] not in self._hands:
            self._raise_settled(envelope[_FIELD])

    def in_hand(self) -> list[bytes]:
        """The envelopes of all messages that were handed out and have no verdict."""
        return list(self._hands.values())

    @property
    def pending(self) -> bool:
        """Whether a verdict waits to be sent."""
        return bool(self._acks or self._verdicts)

    @property
    def unanswered(self) -> bool:
        """Whether a verdict waits to be sent, or its call for an answer."""
        if self._acks or self._verdicts:
            return True
        sent = self._open
        return sent is not None and bool(sent.acks or sent.verdicts)

    def check_sent(self, envelope: bytes) -> bool:
        """Whether Redis has answered this message's verdict; ``LeaseLost`` if it was too late."""
        field = envelope[_FIELD]
        if field in self._lost:
            self._raise_settled(field)
        if field in self._hands:
            message_id = wire.shown(field[:24])
            raise TypedRMQError(
                f"message {message_id} of queue {self._queue!r} has no verdict yet: call ack(), "
                "retry(), reject(), or release() before settle()",
                queue=self._queue,
                message_id=message_id,
            )
        sent = self._open
        waiting = [*self._acks, *(verdict.field for verdict in list(self._verdicts))]
        if sent is not None:
            waiting += [*sent.acks, *(verdict.field for verdict in sent.verdicts)]
        return field not in waiting

    def not_sent(self, envelope: bytes) -> None:
        """Nothing is sent any more: ``LeaseLost``, unless its verdict was answered just now."""
        if not self.check_sent(envelope):
            self._remember_lost([envelope[_FIELD]])
            self._raise_settled(envelope[_FIELD])

    def _raise_settled(self, field: bytes) -> NoReturn:
        message_id = wire.shown(field[:24])
        if field in self._lost:
            raise LeaseLost(
                f"message {message_id} of queue {self._queue!r} belongs to another consumer by "
                "now: this verdict has no effect",
                queue=self._queue,
                message_id=message_id,
            )
        raise AlreadySettled(
            f"message {message_id} of queue {self._queue!r} has a verdict already",
            queue=self._queue,
            message_id=message_id,
        )

    # --- losing

    def _remember_lost(self, fields: Iterable[bytes]) -> None:
        if len(self._lost) > MAX_LOST:
            # Whoever still asks about these gets AlreadySettled in place of LeaseLost.
            self._lost.clear()
        self._lost.update(fields)

    def forget_all(self) -> None:
        """After a fork: all of this is the parent's."""
        self._hands.clear()
        self._acks.clear()
        self._verdicts.clear()
        self._suspect = None


def drained(items: deque[Item]) -> list[Item]:
    """Everything in the deque, emptying it; others may append at the same time."""
    taken: list[Item] = []
    try:
        for _ in range(len(items)):
            taken.append(items.popleft())
    except IndexError:
        pass
    return taken
