"""The keeper: a thread that looks after a sync consumer while a message is in hand.

It renews the lease, sends acks that have lingered, and closes a session whose loop was left. It
starts with the first message handed out and ends soon after the last one is settled: an idle
consumer has no thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["IDLE_EXIT", "Keeper"]

logger: Final = logging.getLogger("typed_rmq")

IDLE_EXIT: Final = 0.3
"""Seconds without anything to keep after which the thread ends; starting one costs about 50 µs."""


class Keeper:
    """Runs ``chores`` when they are due.

    Args:
        chores: does what is due and returns the seconds until it wants to be called again, or
            ``None`` where there is nothing to keep.
        name: the thread's name.
        may_end: is asked right before the thread ends; says no where something has come up.
    """

    def __init__(
        self,
        chores: Callable[[], float | None],
        name: str,
        may_end: Callable[[], bool] = lambda: True,
    ) -> None:
        self._chores = chores
        self._may_end = may_end
        self._name = name
        # Reentrant: wake() may be called by a __del__ that runs anywhere, here included. Not taken
        # by way of the condition, whose `with` an interrupt can keep from letting go.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._woken = False
        self._ended = False

    def wake(self) -> None:
        """Look at the chores now; starts the thread if there is none.

        Raises ``RuntimeError`` where the system has no more threads to give: a loop that nobody
        looks after must not go on.
        """
        with self._lock:
            self._woken = True
            if self._thread is None and not self._ended:
                try:
                    self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                    self._thread.start()
                except BaseException:
                    # An interrupt may come when it has started: then it is taken up by `_run`.
                    self._thread = None
                    raise
            else:
                self._condition.notify()

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None

    def end(self) -> None:
        """No more chores; returns when the thread has ended (not when called from it)."""
        with self._lock:
            self._ended = True
            self._condition.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def forget(self) -> None:
        """After a fork: the thread is the parent's."""
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._thread = None
        self._woken = False

    def _run(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.current_thread()
            elif self._thread is not threading.current_thread():
                return  # another one was started after the interrupt
        idle_since: float | None = None
        while True:
            with self._lock:
                self._woken = False
            try:
                pause = self._chores()
            except BaseException:
                # Whatever happens, the lease must be looked after: try again a little later.
                logger.exception("%s: a chore failed; it is tried again", self._name)
                pause = 0.5
            now = time.monotonic()
            if pause is not None:
                idle_since = None
            elif idle_since is None:
                idle_since = now
            with self._lock:
                idle = idle_since is not None and now - idle_since >= IDLE_EXIT
                if self._ended or (idle and not self._woken and self._may_end()):
                    self._thread = None
                    return
                if not self._woken:
                    self._condition.wait(IDLE_EXIT if pause is None else pause)
