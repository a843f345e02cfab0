"""The guard of leases: a thread that renews them where their event loop is held up.

An async session renews its lease by a timer of its event loop. A handler that holds the loop, with
``time.sleep`` or a long computation, holds the timer too, and without this its messages would go
to others while it is at work on them. So one thread for each event loop looks, while a message is
in hand, whether the renewals come, and makes those that are late over a sync connection.

A loop that is held cannot start a thread, so it must be there before: it begins with the first
message in hand, and ends soon after the last one. An idle consumer has none.

The thread leaves alone what is past its ``handler_timeout``: that lease is to end. It cannot help
where C code holds the GIL, nor where there are no sync connections.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

from .drivers.sync import SyncDriver
from .errors import TypedRMQError
from .keeper import Keeper
from .session import Session

__all__ = ["Guarded"]

logger: Final = logging.getLogger("typed_rmq")

LOOK: Final = 0.5
"""Seconds between two looks, at most: so the thread also ends soon."""

RENEWAL_BUDGET: Final = 1.0
"""Seconds that a renewal is tried for: others may be waiting for theirs."""


class Guarded:
    """A session, as the guard of its event loop knows it.

    Args:
        session: whose lease is looked after.
        loop: its event loop.
        connect: makes a sync driver, which the thread uses.
        closed: whether the session has ended.
    """

    def __init__(
        self,
        session: Session[Any],
        loop: asyncio.AbstractEventLoop,
        connect: Callable[[], SyncDriver],
        closed: Callable[[], bool],
    ) -> None:
        self._session = session
        self._closed = closed
        self._loop = loop
        self._connect = connect
        self.on: bool = False
        self._handed_out = -1
        self._renewing = False
        self._told = False

    # --- in the thread of the event loop

    def watch(self) -> None:
        """A message is in hand: see that the thread is there. Only where it is not ``on``."""
        self.on = True
        guard = _guards.get(self._loop)
        if guard is None:
            guard = _guards[self._loop] = LeaseGuard()
        try:
            guard.add(self)
        except RuntimeError:  # no more threads to be had: all is well as long as the loop runs
            guard.remove(self)
            self.on = False

    async def leave(self) -> None:
        """The session is closed. The connection of a renewal under way is given back first."""
        if self.on:
            guard = _guards.get(self._loop)
            if guard is not None:
                guard.remove(self)
        while self._renewing:  # noqa: ASYNC110 - what ends it is a thread, very rarely
            await asyncio.sleep(0.01)

    # --- in the guard's

    def look(self, now: float) -> float | None:
        """Renew a lease that is late; the seconds until it may be, or ``None``: nothing to keep."""
        core = self._session.core
        if self._closed() or self._loop.is_closed() or not core.holding:
            return None
        if not core.in_hand() or core.lease_until == 0.0:
            return LOOK  # nobody works on anything, or it belongs to others by now
        late = core.renewed_at + core.plan.lease / 2
        if now < late:
            return late - now
        limit = core.plan.handler_timeout
        if limit is None or not core.overdue(now, limit):
            self._renew()
        return core.plan.lease / 20

    def _renew(self) -> None:
        self._renewing = True
        try:
            # Set before looking: whoever closes the session looks the other way round.
            name, sent_at = self._session.core.session, time.monotonic()
            if name is None or self._closed():
                return
            driver = self._connect()
            link = driver.link()
            try:
                command = self._session.renew_command(name)
                alive = driver.execute(command, link, budget=RENEWAL_BUDGET)
            finally:
                link.release()
            self._session.core.on_renewed(name, sent_at, time.monotonic(), alive=alive)
            if not self._told:
                self._told = True
                logger.warning(
                    "queue %s: a handler holds the event loop; a thread keeps its lease. Nothing "
                    "else runs meanwhile: use asyncio.to_thread(), or a sync handler",
                    self._session.queue_name,
                )
        except TypedRMQError as error:
            logger.warning(
                "queue %s: a handler holds the event loop, and its lease could not be renewed "
                "(%s); it is tried again",
                self._session.queue_name,
                error,
            )
        finally:
            self._renewing = False

    def is_over(self) -> bool:
        """Whether nothing was held at this look and the one before, nor handed out in between."""
        if self._closed() or self._loop.is_closed():
            return True
        before, self._handed_out = self._handed_out, self._session.core.handed_out
        return before == self._handed_out


class LeaseGuard:
    """The thread of one event loop, and the sessions it looks after."""

    def __init__(self) -> None:
        self._guarded: set[Guarded] = set()
        self._keeper = Keeper(self._look, "typed_rmq lease guard", lambda: not self._guarded)

    def add(self, guarded: Guarded) -> None:
        self._guarded.add(guarded)
        self._keeper.wake()

    def remove(self, guarded: Guarded) -> None:
        """Soon, the thread ends, where this was the last one."""
        self._guarded.discard(guarded)
        if self._keeper.running:
            self._keeper.wake()

    def _look(self) -> float | None:
        pauses: list[float] = []
        for guarded in list(self._guarded):
            pause = guarded.look(time.monotonic())
            if pause is not None:
                pauses.append(pause)
            elif guarded.is_over():
                # In this order: a message that comes meanwhile finds it off, or is seen here.
                self._guarded.discard(guarded)
                guarded.on = False
                if guarded.look(time.monotonic()) is not None:
                    guarded.on = True
                    self._guarded.add(guarded)
        return min(LOOK, max(0.01, min(pauses))) if pauses else None


_guards: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LeaseGuard] = (
    weakref.WeakKeyDictionary()
)

# In the child, the threads and their locks are the parent's.
os.register_at_fork(after_in_child=_guards.clear)
