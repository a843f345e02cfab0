"""What an async session does beside its loop: it sends verdicts, and keeps the lease.

``sync_chores.py`` with timers of the event loop for its keeper. A timer starts a task only when
there is something to send, so an idle consumer has neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from .drivers.aio import AsyncDriver
from .drivers.sync import SyncDriver
from .errors import TypedRMQError
from .lease_guard import Guarded
from .session import CHORE_BUDGET, CHORE_PAUSE, Context, Session
from .steps import Plan

T = TypeVar("T")

__all__ = ["AsyncChores"]


class AsyncChores(Session[T], Generic[T]):
    """See the module's text; the arguments are those of ``AsyncSession``."""

    def __init__(
        self,
        context: Context[T],
        plan: Plan,
        driver: AsyncDriver,
        fallback: Callable[[], SyncDriver] | None,
    ) -> None:
        super().__init__(context, plan)
        self._driver = driver
        self._fallback = fallback
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._side = driver.link()
        self._pulse = driver.link()
        self._lane = asyncio.Lock()
        self._settled = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._chore: asyncio.Task[object] | None = None
        self._guarded = (
            None if fallback is None else Guarded(self, self.loop, fallback, lambda: self._closed)
        )

    def _is_stopping(self) -> bool:
        return self.core.stopping

    # --- verdicts

    def recorded(self) -> None:
        if self.armed_at is None:
            self.armed_at = time.monotonic() + self.core.plan.ack_linger
            self._in_loop(self._arm)
        if self._drain_waits:
            self._in_loop(self._settled.set)

    def _in_loop(self, call: Callable[[], object]) -> None:
        """Verdicts may be recorded by a handler's thread; the loop's objects want its own."""
        # Of a closed loop nothing is asked: whoever closes the session sends the verdict.
        with contextlib.suppress(RuntimeError):
            if threading.get_ident() == self._thread and not self.loop.is_closed():
                call()
            else:
                self.loop.call_soon_threadsafe(call)

    async def asettle(self, envelope: bytes) -> None:
        while not self.core.check_sent(envelope):
            if not await self._flush():
                self.core.not_sent(envelope)

    def settle(self, envelope: bytes) -> None:
        if threading.get_ident() == self._thread:
            self.core.check_sent(envelope)
            raise TypedRMQError(
                f"queue {self.queue_name!r}: settle() would block the event loop; use "
                "`await msg.asettle()`",
                queue=self.queue_name,
            )
        # A sync handler in a thread of its own may wait for the loop.
        asyncio.run_coroutine_threadsafe(self.asettle(envelope), self.loop).result()

    def extend(self, envelope: bytes) -> None:
        self.core.check_held(envelope)
        self._in_loop(self._renew_now)

    async def _flush(self, budget: float | None = None) -> bool:
        """Send what waits; an unanswered call first. False where none does, or all is over."""
        async with self._lane:
            if self._closed or not self.core.unanswered:
                return False
            request = self.core.begin(time.monotonic())
            if request is None:
                return False
            reply = await self._driver.execute(
                self.cycle_command(request),
                self._side,
                stopping=self._is_stopping,
                budget=budget,
            )
            self.core.on_reply(request, reply, time.monotonic())
            if not self._driver.keep:
                await self._side.release()
            return True

    # --- the keeper: one timer, and a task only while something is sent

    def _arm(self) -> None:
        if self.armed_at is not None:
            self._set_timer(self.armed_at)

    def _guard(self) -> None:
        """Messages are at hand: see that their lease is kept where the event loop is held up."""
        guarded = self._guarded
        if guarded is not None and not guarded.on and self.core.holding:
            guarded.watch()

    def _keep(self) -> None:
        """Set the timer for the next chore, if there is one."""
        self._guard()
        due = self.next_chore(self.armed_at)
        if due is not None:
            self._set_timer(due)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(max(0.0, at - time.monotonic()), self._on_timer)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._closed or self._chore is not None:
            return
        self.take_overdue()
        # Cleared before looking: whoever records after this arms again.
        now = time.monotonic()
        armed = self.armed_at is not None and now >= self.armed_at
        if armed:
            self.armed_at = None
        hand_back = self.core.hand_back_due()
        stuck = hand_back is not None and now >= hand_back
        if stuck:
            self.core.hand_back()
        if self.core.unanswered and (armed or stuck):
            self._start(self._flush(CHORE_BUDGET))
        elif self.core.holding and now >= self.core.renewal_due():
            self._start(self._renew())
        else:
            self._keep()

    def _renew_now(self) -> None:
        if self._chore is None and not self._closed:
            self._start(self._renew())

    def _start(self, chore: Coroutine[object, object, object]) -> None:
        self._chore = self.loop.create_task(chore)
        self._chore.add_done_callback(self._on_chore_done)

    def _on_chore_done(self, task: asyncio.Task[object]) -> None:
        self._chore = None
        failed = not task.cancelled() and task.exception() is not None
        if failed:
            self.chore_failed(task.exception())
        if self._closed or self.loop.is_closed():
            return
        if failed:
            # Not at once, whatever is due: also not what was recorded in the meantime.
            again = time.monotonic() + CHORE_PAUSE
            if self.core.unanswered:
                self.armed_at = again
            self._clear_timer()
            self._set_timer(again)
            return
        if self.core.pending and self.armed_at is None:
            self.armed_at = time.monotonic() + self.core.plan.ack_linger
        self._keep()

    async def _renew(self) -> None:
        session, sent_at = self.core.session, time.monotonic()
        if session is None:
            return
        alive = await self._driver.execute(
            self.renew_command(session),
            self._pulse,
            stopping=self._is_stopping,
            budget=CHORE_BUDGET,
        )
        self.core.on_renewed(session, sent_at, time.monotonic(), alive=alive)
        if not self._driver.keep:
            await self._pulse.release()

    async def _chores_done(self) -> None:
        """The session is closed: what is under way beside it is waited for."""
        chore = self._chore
        if chore is not None:
            await asyncio.wait({chore})
        if self._guarded is not None:
            await self._guarded.leave()
