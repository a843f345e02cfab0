"""A session driven by blocking calls, from one thread or from a worker's many.

Two locks, always taken in this order: ``_turn`` makes one thread fetch while others wait for
their turn, ``_lane`` keeps one call in flight. A thread that blocks in Redis with messages in
other hands holds only ``_turn``, so that their verdicts can be sent beside it: hence a link for
fetching, one for what goes beside it, and one for renewals, each connected when first used.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from .commands import Command, CycleReply
from .drivers.sync import Interrupted, SyncDriver
from .errors import TypedRMQError
from .keeper import IDLE_EXIT, Keeper
from .message import Message
from .session import Context, Session
from .steps import Cycle, Drain, Plan, Reap, Stop, Wait

T = TypeVar("T")

__all__ = ["SyncSession"]

logger: Final = logging.getLogger("typed_rmq")

CLOSE_BUDGET: Final = 5.0
"""Seconds that leaving may take when Redis does not answer; its leases then end by themselves."""

CHORE_BUDGET: Final = 1.0
"""Seconds that a chore is tried for: the loop must not wait long for its lane, and the keeper
comes back. Only the loop's own calls use up the retry budget and raise."""

CHORE_PAUSE: Final = 0.5

_sessions: weakref.WeakSet[SyncSession[Any]] = weakref.WeakSet()


class SyncSession(Session[T], Generic[T]):
    """See the module's text."""

    def __init__(self, context: Context[T], plan: Plan, driver: SyncDriver) -> None:
        super().__init__(context, plan)
        self._driver = driver
        self._link = driver.link()
        self._side = driver.link()
        self._pulse = driver.link()
        self._turn = threading.RLock()
        self._lane = threading.RLock()
        self._settling = threading.RLock()
        self._settled = threading.Condition(self._settling)
        self._keeper = Keeper(
            self._chores, f"typed_rmq keeper of {context.keys.name}", self._may_end
        )
        self._watched = False
        self._due_at = 0.0
        self._extend = False
        self._leaving = False
        self._closed = False
        self.was_interrupted: bool = False
        self._connection_seen = 0
        # A claim that was sent and whose reply was not read yet; guarded by the lane.
        self._under_way: tuple[Cycle, Command[CycleReply], float] | None = None
        _sessions.add(self)

    # --- taking messages

    def take(self) -> Message[T] | None:
        """The next message, waiting for one; ``None`` at the end."""
        message = self.core.take(time.monotonic())
        if message is None:
            message = self._fetch(None)
            if message is not None:
                self._keep()
        if self.core.low:
            self.claim_ahead()
        return message

    def receive(self, timeout: float | None) -> Message[T] | None:
        """The next message within ``timeout`` seconds (``None``: without end), if one comes."""
        message = self._fetch(None if timeout is None else time.monotonic() + timeout)
        if message is not None:
            self._keep()
        return message

    def _keep(self) -> None:
        """A message is in hand now: see that the keeper looks after it, in time."""
        if not self._watched:
            self._watched = True
            self._keeper.wake()
            return
        hand_back = self.core.hand_back_due()
        if hand_back is not None and hand_back < self._due_at:
            self._due_at = hand_back
            self._keeper.wake()

    def claim_ahead(self) -> None:
        """Send the next claim, without waiting for its reply, where nothing else is under way."""
        try:
            if self._turn.acquire(blocking=False):
                if self._lane.acquire(blocking=False):
                    done = self._closed or self.loss is not None
                    request = None if done else self.core.ahead(time.monotonic())
                    if request is not None:
                        command = self.cycle_command(request)
                        started = self._driver.begin(command, self._link)
                        self._under_way = request, command, started
                    self._lane.release()
                self._turn.release()
        except BaseException:
            # Also where an interrupt came right behind acquire(): no lock stays taken.
            for lock in (self._lane, self._turn):
                with contextlib.suppress(RuntimeError):  # not taken
                    lock.release()
            raise

    def _collect(self, budget: float | None = None) -> bool:
        """Read the reply of a claim that is under way; with the lane in hand."""
        if self._under_way is None:
            return False
        (request, command, started), self._under_way = self._under_way, None
        reply = self._driver.finish(command, self._link, started, sleep=self._sleep, budget=budget)
        self._noticed_connection()
        self.core.on_reply(request, reply, time.monotonic())
        return True

    def _fetch(self, until: float | None) -> Message[T] | None:
        asked = False
        with self._turn:
            while True:
                if self.loss is not None:
                    self.raise_loss()
                now = time.monotonic()
                message = self.core.take(now)
                if message is not None:
                    return message
                with self._lane:
                    if self._closed:
                        return None
                    if self._collect() or self.core.fetched:
                        asked = True
                        continue
                    step = self.core.next(time.monotonic())
                    if isinstance(step, Wait) and until is not None:
                        left = until - now
                        if left <= 0 and asked:
                            self.core.skip_wait(step)
                            return None
                        step = Wait(max(0.002, min(step.seconds, left)), step.then)
                    if isinstance(step, Cycle):
                        self._exchange(step)
                        asked = True
                        continue
                    if isinstance(step, Wait) and step.then is not None:
                        self._wait(step.seconds, step.then)
                        asked = True
                        continue
                if isinstance(step, Stop):
                    return None
                if isinstance(step, Reap):
                    self._reap(step.session)
                elif isinstance(step, Drain):
                    if until is not None and now >= until:
                        return None
                    self._drain(until)
                else:
                    self._wait(step.seconds, None)

    def _exchange(self, request: Cycle) -> None:
        reply = self._driver.execute(self.cycle_command(request), self._link, sleep=self._sleep)
        self._noticed_connection()
        self.core.on_reply(request, reply, time.monotonic())

    def _wait(self, seconds: float, then: Cycle | None) -> None:
        command = None if then is None else self.cycle_command(then)
        try:
            reply = self._driver.wait(
                self._link, self._keys.bell, seconds, command, sleep=self._sleep
            )
        except Interrupted:
            return  # the open request is repeated, and then the core stops
        self._noticed_connection()
        if then is not None and reply is not None:
            self.core.on_reply(then, reply, time.monotonic())

    def _noticed_connection(self) -> None:
        if self._link.generation != self._connection_seen:
            self._connection_seen = self._link.generation
            self.core.on_reconnect()

    def _reap(self, session: bytes) -> None:
        reply = self._driver.execute(self.reap_command(session), self._link, sleep=self._sleep)
        self.reaped(session, reply)

    def _drain(self, until: float | None) -> None:
        """Until a verdict comes up; a stop may come without one, so look now and then."""
        with self._settling:
            self._drain_waits = True
            bound = 0.25 if until is None else max(0.0, min(0.25, until - time.monotonic()))
            self._settled.wait(bound)
            self._drain_waits = False

    def _sleep(self, seconds: float) -> bool:
        """Between tries; returns True, soon, when somebody wants to leave."""
        end = time.monotonic() + seconds
        while not self.core.stopping:
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, 0.1))
        return True

    # --- verdicts

    def recorded(self) -> None:
        if self.armed_at is None:
            armed_at = self.armed_at = time.monotonic() + self.core.plan.ack_linger
            if not self._watched or armed_at < self._due_at:
                self._watched = True
                self._due_at = armed_at
                self._keeper.wake()
        if self._drain_waits:
            with self._settling:
                self._settled.notify_all()

    def settle(self, envelope: bytes) -> None:
        while not self.core.check_sent(envelope):
            if not self._flush():
                self.core.not_sent(envelope)

    async def asettle(self, envelope: bytes) -> None:
        # A message of a sync loop in a coroutine's hands: its answer is waited for in a thread.
        await asyncio.to_thread(self.settle, envelope)

    def extend(self, envelope: bytes) -> None:
        self.core.check_held(envelope)
        self._extend = True
        self._watched = True
        self._keeper.wake()

    def _flush(self, budget: float | None = None) -> bool:
        """Send what waits; an unanswered call first. False where there is no session to do so."""
        with self._lane:
            self._collect(budget)
            request = None if self._closed else self.core.begin(time.monotonic())
            if request is None:
                return False
            reply = self._driver.execute(
                self.cycle_command(request), self._side, sleep=self._sleep, budget=budget
            )
            self.core.on_reply(request, reply, time.monotonic())
            if not self._driver.keep:
                self._side.release()
            return True

    # --- the keeper's chores

    def _chores(self) -> float | None:
        if self._leaving:
            self.close()
            return None
        try:
            return self._do_chores()
        except TypedRMQError as error:
            logger.warning(
                "queue %s: a chore of the consumer failed (%s); it is tried again",
                self.queue_name,
                error,
            )
            if self.core.pending and self.armed_at is None:
                self.armed_at = time.monotonic() + CHORE_PAUSE
            return CHORE_PAUSE

    def _do_chores(self) -> float | None:
        self.take_overdue()
        # Cleared before looking: whoever records after this arms again.
        armed_at = self.armed_at
        now = time.monotonic()
        if armed_at is not None and now >= armed_at:
            self.armed_at = armed_at = None
            if self.core.pending:
                self._flush(CHORE_BUDGET)
        hand_back = self.core.hand_back_due()
        if hand_back is not None and now >= hand_back:
            with self._lane:
                self._collect(CHORE_BUDGET)
                self.core.hand_back()
                self._flush(CHORE_BUDGET)
        if self.core.holding and (self._extend or now >= self.core.renewal_due()):
            self._extend = False
            self._renew()
        due = self.next_chore(self.armed_at)
        if due is None:
            # A message that comes while the keeper lingers needs no wake: it looks again.
            self._due_at = time.monotonic() + IDLE_EXIT
            return None
        self._due_at = due
        return max(0.001, due - time.monotonic())

    def _may_end(self) -> bool:
        # Cleared before looking: whoever takes a message after this starts the keeper again.
        self._watched = False
        if self._leaving or self.next_chore(self.armed_at) is not None:
            self._watched = True
        return not self._watched

    def _renew(self) -> None:
        session, sent_at = self.core.session, time.monotonic()
        if session is None:
            return
        alive = self._driver.execute(
            self.renew_command(session), self._pulse, sleep=self._sleep, budget=CHORE_BUDGET
        )
        self.core.on_renewed(session, sent_at, time.monotonic(), alive=alive)
        if not self._driver.keep:
            self._pulse.release()

    # --- the end

    def stop(self) -> None:
        """End after the message in hand; from any thread, or a signal handler."""
        self.core.stopping = True
        self._link.interrupt()

    def interrupted(self) -> None:
        """A second signal: what is in hand is not the message's fault."""
        self.was_interrupted = True
        self.stop()

    def leave(self) -> None:
        """Close soon, from the keeper: what a ``__del__`` may do."""
        self.core.stopping = True
        self._leaving = True
        self._keeper.wake()

    def close(self, budget: float = CLOSE_BUDGET) -> None:
        """Send every verdict, give back what was not started, and end the session."""
        self.stop()
        with self._turn, self._lane:
            if not self._closed:
                try:
                    self._closed = True
                    self._say_goodbye(budget)
                except BaseException as error:
                    # Interrupted: the keeper says it, else the lease would have to run out.
                    self._closed = isinstance(error, Exception)
                    raise
        self._keeper.end()

    def _say_goodbye(self, budget: float) -> None:
        try:

            def send(command: Command[CycleReply]) -> CycleReply:
                return self._driver.execute(command, self._link, budget=budget)

            self._collect(budget)
            say_goodbye(self, send)
        except TypedRMQError as error:
            logger.warning(
                "queue %s: a consumer could not say goodbye (%s); what it held comes back when "
                "its lease ends",
                self.queue_name,
                error,
            )
        finally:
            for link in (self._link, self._side, self._pulse):
                link.release()

    def after_fork(self) -> None:
        """In the child: this session, its messages, and its connection are the parent's."""
        self._closed = True
        self._under_way = None
        for link in (self._link, self._side, self._pulse):
            link.forget()
        self._keeper.forget()
        self._turn = threading.RLock()
        self._lane = threading.RLock()
        self.core.disown()

    @property
    def closed(self) -> bool:
        return self._closed


def say_goodbye(session: Session[T], send: Callable[[Command[CycleReply]], CycleReply]) -> None:
    """The last calls of a session: repeat what is unanswered, then give back and close."""
    core = session.core
    while True:
        core.give_back()
        request = core.begin(time.monotonic(), closing=True)
        if request is None:
            return
        core.on_reply(request, send(session.cycle_command(request)), time.monotonic())
        if request.closing:
            return


def _at_exit() -> None:
    """Verdicts that still linger are sent; the thread that would do it is about to be stopped."""
    for session in list(_sessions):
        # Also where the keeper is in the middle of it: close() waits for it.
        if session.core.busy or session.core.session is not None:
            session.close(budget=2.0)


def _after_fork() -> None:
    for session in list(_sessions):
        session.after_fork()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
