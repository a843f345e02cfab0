"""A session driven by blocking calls: how it takes messages, and how it ends.

One thread takes from it, or a worker's many. What it does beside that is in ``sync_chores.py``.

Two locks, always taken in this order: ``_turn`` makes one thread fetch while others wait for
their turn, ``_lane`` keeps one call in flight. A thread that blocks in Redis with messages in
other hands holds only ``_turn``, so that their verdicts can be sent beside it: hence a link for
fetching, one for what goes beside it, and one for renewals, each connected when first used.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from .commands import Command, CycleReply
from .drivers.sync import Interrupted, SyncDriver
from .errors import TypedRMQError
from .message import Message
from .session import Context, Session
from .steps import Cycle, Drain, Plan, Reap, Stop, Wait
from .sync_chores import SyncChores

T = TypeVar("T")

__all__ = ["SyncSession"]

CLOSE_BUDGET: Final = 5.0
"""Seconds that leaving may take when Redis does not answer; its leases then end by themselves."""

_sessions: weakref.WeakSet[SyncSession[Any]] = weakref.WeakSet()


class SyncSession(SyncChores[T], Generic[T]):
    """See the module's text."""

    def __init__(self, context: Context[T], plan: Plan, driver: SyncDriver) -> None:
        super().__init__(context, plan, driver)
        self._turn = threading.RLock()
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
        try:
            message = self._fetch(None if timeout is None else time.monotonic() + timeout)
        except TypedRMQError:
            if self.core.unanswered:
                self.recorded()  # no loop is left by this, which would send them
            raise
        if message is not None:
            self._keep()
        return message

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
        self._noticed_connection(self._link.generation)
        self.core.on_reply(request, reply, time.monotonic())

    def _wait(self, seconds: float, then: Cycle | None) -> None:
        command = None if then is None else self.cycle_command(then)
        try:
            reply = self._driver.wait(
                self._link, self._keys.bell, seconds, command, sleep=self._sleep
            )
        except Interrupted:
            return  # the open request is repeated, and then the core stops
        self._noticed_connection(self._link.generation)
        if then is not None and reply is not None:
            self.core.on_reply(then, reply, time.monotonic())

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

    # --- the end

    def stop(self) -> None:
        """End after the message in hand; from any thread, or a signal handler."""
        self.core.stopping = True
        self._link.interrupt()

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
            self.could_not_close(error)
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
