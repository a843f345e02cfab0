"""The stats of many queues within a bounded time, for those who report them.

A queue whose Redis is down tries for its whole retry budget before it raises. A scrape cannot wait
for that: each question is put in a thread of its own, and who has not answered in time counts as
down. Such a queue is asked again only when its question before has come back, so there is at most
one thread per queue, and none between two rounds of a Redis that answers.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from .results import QueueStats
from .retry import Duration, seconds

__all__ = ["Poller", "WithStats"]

logger: Final = logging.getLogger("typed_rmq")

MAX_THREADS: Final = 8
"""Questions that one round puts at the same time."""


class WithStats(Protocol):
    """What is asked: a ``Queue`` of any type."""

    @property
    def name(self) -> str: ...

    def stats(self) -> QueueStats: ...


class Poller:
    """Asks queues for their stats.

    Args:
        timeout: seconds that a round takes at most.
        max_age: seconds for which a round's answers are given again.
    """

    def __init__(self, *, timeout: Duration = 2.0, max_age: Duration = 0.0) -> None:
        self._timeout = seconds(timeout, "timeout")
        self._max_age = seconds(max_age, "max_age")
        self._lock = threading.Lock()
        self._busy: set[WithStats] = set()
        self._down: set[str] = set()
        self._asked_at = float("-inf")
        # Weakly: whoever polls decides how long a queue lives.
        self._answers: weakref.WeakKeyDictionary[WithStats, QueueStats] = (
            weakref.WeakKeyDictionary()
        )

    def poll(self, queues: Sequence[WithStats]) -> list[tuple[str, QueueStats | None]]:
        """Each queue's name and stats, ``None`` for one that did not answer in time."""
        with self._lock:
            asked_at = time.monotonic()
            if asked_at - self._asked_at >= self._max_age:
                answered = self._round(queues, asked_at + self._timeout)
                self._answers = weakref.WeakKeyDictionary(answered)
                self._asked_at = asked_at
            answers = self._answers
        return [(queue.name, answers.get(queue)) for queue in queues]

    def _round(self, queues: Iterable[WithStats], until: float) -> dict[WithStats, QueueStats]:
        todo = deque(queue for queue in queues if queue not in self._busy)
        answers: dict[WithStats, QueueStats] = {}
        threads = [
            threading.Thread(
                target=self._work, args=(todo, answers), name="typed_rmq stats", daemon=True
            )
            for _ in range(min(MAX_THREADS, len(todo)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        todo.clear()
        # A copy: one that comes too late must not change what was answered.
        return dict(answers)

    def _work(self, todo: deque[WithStats], answers: dict[WithStats, QueueStats]) -> None:
        while True:
            try:
                queue = todo.popleft()
            except IndexError:
                return
            self._busy.add(queue)
            try:
                answers[queue] = queue.stats()
                self._down.discard(queue.name)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are reported
                if queue.name not in self._down:
                    self._down.add(queue.name)
                    logger.warning("queue %s: its stats cannot be read: %s", queue.name, error)
            finally:
                self._busy.discard(queue)
