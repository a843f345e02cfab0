"""A session driven by awaits: how it takes messages, and how it ends.

What it does beside that is in ``async_chores.py``.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from .async_chores import AsyncChores
from .commands import Command, CycleReply
from .drivers.aio import AsyncDriver
from .drivers.sync import Interrupted, SyncDriver
from .errors import TypedRMQError
from .message import Message
from .session import Context
from .steps import Cycle, Drain, Plan, Reap, Stop, Wait
from .sync_session import CLOSE_BUDGET, say_goodbye

T = TypeVar("T")

__all__ = ["AsyncSession"]

_sessions: weakref.WeakSet[AsyncSession[Any]] = weakref.WeakSet()

_leaving: Final[set[asyncio.Task[None]]] = set()
"""Tasks that close sessions whose loop was left: asyncio itself holds tasks only weakly."""

_under_way: Final[set[asyncio.Task[None]]] = set()
"""Tasks that claim the next batch."""


class AsyncSession(AsyncChores[T], Generic[T]):
    """See the module's text.

    Args:
        context: what the queue's sessions share.
        plan: how to consume.
        driver: the driver of the running event loop.
        fallback: makes a sync driver, for a goodbye when the event loop is over; ``None`` where
            the queue has no sync connections.
    """

    def __init__(
        self,
        context: Context[T],
        plan: Plan,
        driver: AsyncDriver,
        fallback: Callable[[], SyncDriver] | None,
    ) -> None:
        super().__init__(context, plan, driver, fallback)
        self._link = driver.link()
        self._turn = asyncio.Lock()
        _sessions.add(self)

    # --- taking messages

    def take_now(self) -> Message[T] | None:
        """A message that was fetched already, if there is one."""
        message = self.core.take(time.monotonic())
        if message is not None and self._timer is None:
            self._keep()
        if self.core.low:
            self.claim_ahead()
        return message

    def claim_ahead(self) -> None:
        """Send the next claim, while what was fetched is still being handled.

        From Python 3.12 on it leaves at once; before, when the event loop comes round.
        """
        busy = self._lane.locked() or self._turn.locked()
        if busy or self._closed or self.loss is not None:
            self.core.low = False
            return
        request = self.core.ahead(time.monotonic())
        if request is not None:
            task = _at_once(self._exchange_ahead(request), self.loop)
            _under_way.add(task)
            task.add_done_callback(_under_way.discard)

    async def _exchange_ahead(self, request: Cycle) -> None:
        async with self._lane:
            # Where somebody else was faster, the call that was open has been sent by now.
            if self.core.is_open(request):
                try:
                    await self._exchange(request)
                    self._keep()
                except TypedRMQError:  # the loop repeats it, and then raises
                    if self.core.unanswered:
                        self.recorded()

    async def take(self) -> Message[T] | None:
        """The next message, waiting for one; ``None`` at the end."""
        return await self.receive(None)

    async def receive(self, timeout: float | None) -> Message[T] | None:
        """The next message within ``timeout`` seconds (``None``: without end), if one comes."""
        try:
            message = await self._fetch(None if timeout is None else time.monotonic() + timeout)
        except TypedRMQError:
            if self.core.unanswered:
                self.recorded()  # areceive() is not over with this, as a loop is
            raise
        if message is not None:
            self._keep()
        if self.core.low:
            self.claim_ahead()
        return message

    async def _fetch(self, until: float | None) -> Message[T] | None:
        asked = False
        async with self._turn:
            while True:
                if self.loss is not None:
                    self.raise_loss()
                now = time.monotonic()
                message = self.core.take(now)
                if message is not None:
                    return message
                async with self._lane:
                    if self._closed:
                        return None
                    if self.core.fetched:  # claimed ahead, while the lane was waited for
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
                        await self._exchange(step)
                        asked = True
                        continue
                    if isinstance(step, Wait) and step.then is not None:
                        await self._wait(step.seconds, step.then)
                        asked = True
                        continue
                if isinstance(step, Stop):
                    return None
                if isinstance(step, Reap):
                    await self._reap(step.session)
                elif isinstance(step, Drain):
                    if until is not None and now >= until:
                        return None
                    await self._drain(until)
                else:
                    await self._wait(step.seconds, None)

    async def _exchange(self, request: Cycle) -> None:
        reply = await self._driver.execute(
            self.cycle_command(request), self._link, stopping=self._is_stopping
        )
        self._noticed_connection(self._link.generation)
        self.core.on_reply(request, reply, time.monotonic())

    async def _wait(self, seconds: float, then: Cycle | None) -> None:
        command = None if then is None else self.cycle_command(then)
        try:
            reply = await self._driver.wait(
                self._link, self._keys.bell, seconds, command, stopping=self._is_stopping
            )
        except Interrupted:
            return  # the open request is repeated, and then the core stops
        self._noticed_connection(self._link.generation)
        if then is not None and reply is not None:
            self.core.on_reply(then, reply, time.monotonic())

    async def _reap(self, session: bytes) -> None:
        reply = await self._driver.execute(
            self.reap_command(session), self._link, stopping=self._is_stopping
        )
        self.reaped(session, reply)

    async def _drain(self, until: float | None) -> None:
        """Until a verdict comes up; a stop may come without one, so look now and then."""
        self._settled.clear()
        self._drain_waits = True
        bound = 0.25 if until is None else max(0.0, min(0.25, until - time.monotonic()))
        try:
            async with asyncio.timeout(bound):
                await self._settled.wait()
        except TimeoutError:
            pass
        finally:
            self._drain_waits = False

    # --- the end

    def stop(self) -> None:
        """End after the message in hand; from any thread, or a signal handler."""
        self.core.stopping = True
        try:
            # Also from the loop's own thread: a signal handler runs between any two bytecodes.
            self.loop.call_soon_threadsafe(self._link.interrupt)
        except RuntimeError:
            pass  # the loop is closed: nothing waits

    def leave(self) -> None:
        """Close soon: what a ``__del__`` may do."""
        self.core.stopping = True
        if self._closed or self.core.session is None:
            self._closed = True
            self._clear_timer()
        if self.loop.is_closed() or threading.get_ident() != self._thread:
            self._leave_by_thread()
            return
        try:
            task = self.loop.create_task(self.aclose())
        except RuntimeError:
            self._leave_by_thread()
            return
        _leaving.add(task)
        task.add_done_callback(self._on_left)

    def _on_left(self, task: asyncio.Task[None]) -> None:
        _leaving.discard(task)
        # asyncio.run() cancels what is left over, also a task that has not begun.
        if task.cancelled() and not self._closed:
            self._leave_by_thread()

    def _leave_by_thread(self) -> None:
        """The event loop is over, or about to be: the goodbye takes a sync connection."""
        self._closed = True
        self._clear_timer()
        if self._fallback is None or self.core.session is None or sys.is_finalizing():
            return  # an interpreter that ends starts no thread, and has closed this one before
        # Not a daemon: the interpreter waits for it, as long as the budget at most.
        threading.Thread(target=self._say_goodbye, name="typed_rmq goodbye").start()

    def _say_goodbye(self) -> None:
        if self._fallback is None:
            return
        try:
            driver = self._fallback()
            link = driver.link()

            def send(command: Command[CycleReply]) -> CycleReply:
                return driver.execute(command, link, budget=CLOSE_BUDGET)

            say_goodbye(self, send)
            link.release()
        except TypedRMQError as error:
            self.could_not_close(error)

    def at_exit(self) -> None:
        """The interpreter ends, and an iterator that is still alive has kept this session."""
        if self._closed or self.core.session is None or self.loop.is_running():
            return
        self._closed = True
        self._clear_timer()
        self._say_goodbye()

    async def aclose(self, budget: float = CLOSE_BUDGET) -> None:
        """Send every verdict, give back what was not started, and end the session."""
        self.core.stopping = True
        self._link.interrupt()
        async with self._turn, self._lane:
            if self._closed:
                return
            core = self.core
            try:
                while True:
                    core.give_back()
                    request = core.begin(time.monotonic(), closing=True)
                    if request is None:
                        break
                    reply = await self._driver.execute(
                        self.cycle_command(request), self._link, budget=budget
                    )
                    core.on_reply(request, reply, time.monotonic())
                    if request.closing:
                        break
            except TypedRMQError as error:
                self.could_not_close(error)
            self._closed = True
            self._clear_timer()
        await self._chores_done()
        for link in (self._link, self._side, self._pulse):
            await link.release()

    def after_fork(self) -> None:
        """In the child: this session, its messages, and its connections are the parent's."""
        self._closed = True
        self._timer = None
        for link in (self._link, self._side, self._pulse):
            link.forget()
        self.core.disown()


def _at_once(
    work: Coroutine[object, object, None], loop: asyncio.AbstractEventLoop
) -> asyncio.Task[None]:
    """A task that has begun already, where Python knows such."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)


def _at_exit() -> None:
    for session in list(_sessions):
        session.at_exit()


def _after_fork() -> None:
    for session in list(_sessions):
        session.after_fork()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
