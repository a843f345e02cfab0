"""What a sync session does beside its loop: it sends verdicts, and keeps the lease.

A thread does it, the keeper, which is there only while there is something to keep. It shares the
lane with the loop, whose claim may be under way: then it reads that one's reply first.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from abc import abstractmethod
from typing import Generic, TypeVar

from .commands import Command, CycleReply
from .core import HAND_BACK
from .drivers.sync import SyncDriver
from .errors import TypedRMQError
from .keeper import IDLE_EXIT, Keeper
from .session import CHORE_BUDGET, CHORE_PAUSE, Context, Session
from .steps import Cycle, Plan

T = TypeVar("T")

__all__ = ["SyncChores"]


class SyncChores(Session[T], Generic[T]):
    """See the module's text; the arguments are those of ``SyncSession``."""

    def __init__(self, context: Context[T], plan: Plan, driver: SyncDriver) -> None:
        super().__init__(context, plan)
        self._driver = driver
        self._link = driver.link()
        self._side = driver.link()
        self._pulse = driver.link()
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
        # A claim that was sent and whose reply was not read yet; guarded by the lane.
        self._under_way: tuple[Cycle, Command[CycleReply], float] | None = None

    @abstractmethod
    def close(self) -> None:
        """End the session: its loop was left."""

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
            elif self.core.fetched:
                self._keep()  # a claim that was under way has brought them

    async def asettle(self, envelope: bytes) -> None:
        # A message of a sync loop in a coroutine's hands: its answer is waited for in a thread.
        await asyncio.to_thread(self.settle, envelope)

    def extend(self, envelope: bytes) -> None:
        self.core.check_held(envelope)
        self._extend = True
        self._watched = True
        self._keeper.wake()

    def _flush(self, budget: float | None = None) -> bool:
        """Send what waits; an unanswered call first. False where none does, or all is over."""
        with self._lane:
            self._collect(budget)
            if self._closed or not self.core.unanswered:
                return False
            request = self.core.begin(time.monotonic())
            if request is None:
                return False
            reply = self._driver.execute(
                self.cycle_command(request), self._side, sleep=self._sleep, budget=budget
            )
            self.core.on_reply(request, reply, time.monotonic())
            if not self._driver.keep:
                self._side.release()
            return True

    def _collect(self, budget: float | None = None) -> bool:
        """Read the reply of a claim that is under way; with the lane in hand."""
        if self._under_way is None:
            return False
        (request, command, started), self._under_way = self._under_way, None
        reply = self._driver.finish(command, self._link, started, sleep=self._sleep, budget=budget)
        self._noticed_connection(self._link.generation)
        self.core.on_reply(request, reply, time.monotonic())
        return True

    # --- the keeper's chores

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

    def next_chore(self, armed_at: float | None) -> float | None:
        due, claim = super().next_chore(armed_at), self._under_way
        if claim is None:
            return due
        # Who reads its reply may be at a slow message, and others should have what it brings.
        unread = claim[2] + HAND_BACK
        return unread if due is None else min(due, unread)

    def _chores(self) -> float | None:
        if self._leaving:
            self.close()
            return None
        try:
            return self._do_chores()
        except TypedRMQError as error:
            self.chore_failed(error)
            if self.core.unanswered and self.armed_at is None:
                self.armed_at = time.monotonic() + CHORE_PAUSE
            return CHORE_PAUSE

    def _do_chores(self) -> float | None:
        self.take_overdue()
        # Cleared before looking: whoever records after this arms again.
        armed_at = self.armed_at
        now = time.monotonic()
        if armed_at is not None and now >= armed_at:
            self.armed_at = armed_at = None
            if self.core.unanswered:
                self._flush(CHORE_BUDGET)
        claim = self._under_way
        if claim is not None and now >= claim[2] + HAND_BACK:
            with self._lane:
                self._collect(CHORE_BUDGET)
        hand_back = self.core.hand_back_due()
        if hand_back is not None and now >= hand_back:
            with self._lane:
                self._collect(CHORE_BUDGET)
                self.core.hand_back()
                self._flush(CHORE_BUDGET)
        if self.core.holding and (self._extend or now >= self.core.renewal_due()):
            self._extend = False
            self._renew()
        # Who records something while this looks has to wake it.
        self._due_at = math.inf
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
