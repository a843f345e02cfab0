"""What a consumer does next, decided without a clock, a thread, or a socket.

One core belongs to one run of a loop: one session in Redis. A shell (sync or async) drives it:

* ``take(now)`` hands out a message that was fetched already.
* ``next(now)`` says what to do when there is none: a ``Cycle`` to send, a ``Wait``, a ``Drain``,
  a ``Reap``, or ``Stop``. After a ``Cycle`` the shell calls ``on_reply``: what it learns by that is
  in ``knowledge.py``.
* Verdicts are recorded by whoever holds a message, from any thread: recording is one
  ``dict.pop`` and one ``deque.append``, each atomic, so it takes no lock. All else is called by
  one caller at a time.

The rules it keeps (their numbers are those of ``docs/protocol.md``):

1. A call that got no answer is repeated unchanged before anything else is sent.
2. After having been reaped, the session's name is never used again.
6. A suspect is alone: nothing else is claimed while it is held, and it is claimed only with
   empty hands.
7. A session is reaped only after it was seen expired twice on one connection, a grace apart.
9. It waits only right after a call that found nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from . import wire
from .commands import Way
from .deliveries import Decoder, Report
from .hands import drained
from .knowledge import Knowledge
from .message import Owner
from .prefetch import MAX_BATCH
from .steps import Cycle, Drain, Plan, Reap, Step, Stop, Wait

T = TypeVar("T")

__all__ = ["ConsumerCore"]

MAX_WAIT: Final = 15.0
"""Seconds: a lost ring or a dead connection delays nobody longer than this."""

MIN_WAIT: Final = 0.002
"""Seconds: Redis takes zero for 'for ever'."""

HAND_BACK: Final = 1.0
"""Seconds after which a batch that is stuck behind a slow message is given back to others."""


class ConsumerCore(Knowledge[T]):
    """The state of one consuming session. See the module's text for how it is driven."""

    def __init__(
        self,
        plan: Plan,
        decoder: Decoder[T],
        owner: Owner,
        report: Report,
        *,
        clock: Callable[[], float],
        token: Callable[[], bytes] = wire.session_name,
    ) -> None:
        super().__init__(plan, decoder, owner, report, clock)
        self._token = token
        # Whether an interrupt may have cut something short, and Redis knows better what is held.
        self.doubtful: bool = False
        # A ring may have been taken that no claim has passed on yet.
        self._rung = False

    # --- deciding

    def next(self, now: float) -> Step:
        """What to do, now that ``take`` had nothing."""
        if self._open is not None:
            return self._open
        if self.stopping or self._reached_limit():
            return Stop()
        if self._to_reap:
            # What comes back, and what was drained for, can be claimed: the queue is not empty.
            self._empty = False
            return Reap(self._to_reap.popleft())
        if self._must_drain():
            self._empty = False
            return Drain()
        # A verdict that was recorded since may put its message back: then the queue is not empty.
        if not self._empty or (self.plan.until_empty and self.pending):
            self._adapt(now)
            return self._begin(now, self._want())
        if self.plan.until_empty:
            return Stop()
        left = self._idle_left(now)
        if left is not None and left <= 0:
            return Stop()
        self._empty = False
        seconds = self._wait_seconds(now, left)
        self._rung = True
        if self._held():
            return Wait(seconds, None)
        return Wait(seconds, self._begin(now, self._want()))

    def _reached_limit(self) -> bool:
        limit = self.plan.max_messages
        return limit is not None and self._delivered >= limit

    def _must_drain(self) -> bool:
        """Whether a suspect is in hand or waits for empty hands, or there are no hands left."""
        if self._suspect is not None:
            return True
        if not self._hands:
            return False
        return self._drain or self._want() == 0

    def ahead(self, now: float) -> Cycle | None:
        """A claim to send while what was fetched is still being handled, if that is wise.

        To be asked for when ``low`` is set. Never more is held than one batch. Where anything is
        out of the ordinary, the claim waits until the buffer is empty, as usual.
        """
        self.low = False
        left = len(self._buffer)
        if (
            self._open is not None
            or self.session is None
            or self.stopping
            or self._suspect is not None
            or self._drain
            or self._verdicts
            or self._expired
            or self._to_reap
            or self.plan.max_messages is not None
        ):
            return None
        self._ahead = True
        handled = self._delivered - self._marked
        if handled >= self.prefetch.size // 2:
            # No batch ends here before the next begins: a whole one would have taken so long.
            self.prefetch.handled((now - self._mark_at) * self.prefetch.size / handled)
            self._mark_at, self._marked = now, self._delivered
        want = self.prefetch.size - left - len(self._hands)
        return self._begin(now, want) if want > 0 else None

    def is_open(self, request: Cycle) -> bool:
        """Whether this call still waits for its answer."""
        return self._open is request

    def _adapt(self, now: float) -> None:
        if self._batch_at and not self._ahead:
            self.prefetch.handled(now - self._batch_at)
        self._batch_at = 0.0
        self._ahead = False

    def _want(self) -> int:
        # What has a verdict is gone by the time that Redis claims: it is settled in the same call.
        want = min(self.prefetch.size, MAX_BATCH - len(self._buffer) - len(self._hands))
        if self.plan.max_messages is not None:
            want = min(want, self.plan.max_messages - self._delivered)
        return max(want, 0)

    def _held(self) -> int:
        return len(self._buffer) + len(self._hands) + len(self._acks) + len(self._verdicts)

    def _idle_left(self, now: float) -> float | None:
        if self.plan.idle_timeout is None or self._idle_since is None:
            return None
        return self.plan.idle_timeout - (now - self._idle_since)

    def _wait_seconds(self, now: float, idle_left: float | None) -> float:
        bounds = [self.plan.lease / 3, MAX_WAIT]
        if self._due is not None:
            bounds.append(self._due - now)
        if idle_left is not None:
            bounds.append(idle_left)
        if self._expired:
            bounds.append(min(self._expired.values()) + self.plan.grace - now)
        return max(MIN_WAIT, min(bounds))

    def skip_wait(self, wait: Wait) -> None:
        """This wait is not done: its call has not left, and held no verdict."""
        if wait.then is not None and self._open is wait.then:
            self._open = None

    def disown(self) -> None:
        """After a fork: all of this is the parent's."""
        self.stopping = True
        self.session = None
        self._open = None
        self._buffer.clear()
        self.forget_all()

    def begin(self, now: float, *, closing: bool = False) -> Cycle | None:
        """A call that claims nothing: sends verdicts, renews, or ends the session.

        ``None`` where nothing is there to send to: no session was begun. A call without an answer
        comes first, whatever was asked for. Verdicts recorded for a session that was reaped by the
        time go out in the name of the next one, and are told to be stale.
        """
        if self._open is not None:
            return self._open
        if self.stopping or self.doubtful:
            # The loop ends. What a claim has brought by now goes in the same call as what is given
            # back before: each call puts its messages in front of those of the last one.
            self.give_back()
        if self.session is None and (closing or not self.pending):
            return None
        if closing and self.doubtful and self.session is not None and self._answered:
            self.doubtful = False
            return self._ask_again(self.session, now)
        return self._begin(now, 0, closing=closing)

    def _ask_again(self, session: bytes, now: float) -> Cycle:
        """The last number once more: its answer names all that the session holds (rule 1)."""
        request = self._open = Cycle(
            n=self._answered, session=session, want=0, held=self._held(), acks=(), verdicts=()
        )
        self._sent_at = now
        return request

    def _begin(self, now: float, want: int, *, closing: bool = False) -> Cycle:
        if self.session is None:
            self.session = self._token()
            self._answered = 0
            self._long_at = now
        # Counted before the verdicts are taken out: this is what Redis holds for the session.
        held = self._held()
        acks = tuple(drained(self._acks))
        verdicts = tuple(drained(self._verdicts))
        way: Way = "long"
        if want and not verdicts and not closing and now < self._long_at:
            way = "woken" if self._rung else "short"
        if want:
            self._rung = False
        request = Cycle(
            n=self._answered + 1,
            session=self.session,
            want=want,
            held=held,
            acks=acks,
            verdicts=verdicts,
            closing=closing,
            way=way,
        )
        self._open = request
        self._sent_at = now
        return request

    # --- chores while a message is in hand

    def renewal_due(self) -> float:
        """When the lease wants to be renewed."""
        return self.renewed_at + self.plan.lease / 3

    def hand_back_due(self) -> float | None:
        """When a batch has been waiting so long behind one message that others should have it."""
        if self._buffer and self._batch_at:
            return self._batch_at + HAND_BACK
        return None

    def hand_back(self) -> None:
        self.give_back()
        self.prefetch.stuck()
