"""Looks at the queues every few seconds and remembers an hour of it.

It runs in the event loop that serves the pages, from the first request on (or from the start,
where the app's lifespan is run), and ends with it. Pages ask it for what they show, so ten people
who look cost Redis no more than one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Final

from typed_rmq import Peeked, State, TypedRMQError

from .queues import DashboardQueue, QueueSource, Reach
from .series import History

__all__ = ["Sampler"]

logger: Final = logging.getLogger("typed_rmq.dashboard")

AT_ONCE: Final = 8
"""So many queues are looked at at the same time."""
PATIENCE: Final = 5.0
"""Seconds that one queue may take to answer."""
ROUND: Final = 8.0
"""Seconds that all of them together may take."""
DISCOVER: Final = 15.0
"""Seconds between two questions of which queues there are."""
SOON: Final = 2.0
"""Seconds between two where somebody asks for one that is not known."""
MAX_QUEUES: Final = 1000
SOME: Final = 100
"""Messages that a sample looks at: completions, and delayed ones for those that are retried."""
SOME_BYTES: Final = 1_000_000


class Sampler:
    """Samples of all queues; ``refresh`` makes one now unless there is a fresh one."""

    def __init__(self, queues: Iterable[DashboardQueue] | QueueSource, interval: float) -> None:
        self.interval = interval
        self.reaches: dict[str, Reach] = {}
        self.histories: dict[str, History] = {}
        self.error: str | None = None
        self._source: QueueSource | None = queues if callable(queues) else None
        if not callable(queues):
            self._adopt(queues)
        self._discovered_at = float("-inf")
        self._sampled_at = float("-inf")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._sizes: dict[tuple[str, State], int] = {}

    # --- running

    def ensure_running(self) -> None:
        """Start sampling in the running loop, unless it is done there already."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._task is None or self._task.done():
            self._loop, self._lock = loop, asyncio.Lock()
            self._task = loop.create_task(self._run(), name="typed_rmq dashboard sampler")

    async def stop(self) -> None:
        """End it."""
        task, self._task = self._task, None
        if task is not None and self._loop is asyncio.get_running_loop():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            try:
                await self.refresh(max_age=self.interval / 2)
            except Exception:
                logger.exception("the dashboard could not look at its queues; it tries again")
            await asyncio.sleep(self.interval)

    # --- sampling

    def history(self, queue: str) -> History:
        """What was sampled of a queue; nothing, where it has just gone."""
        return self.histories.get(queue) or History()

    async def refresh(self, *, max_age: float = 1.0) -> None:
        """Look at all queues, unless that was done in the last ``max_age`` seconds."""
        async with self._lock:
            started = time.monotonic()
            if started - self._sampled_at <= max_age:
                return
            await self._discover(started)
            await self._sample_all()
            self._sampled_at = time.monotonic()

    async def knows(self, queue: str) -> bool:
        """Whether there is a queue of this name; one that is new is looked for."""
        if not self.reaches or (queue not in self.reaches and self._source is not None):
            async with self._lock:
                now = time.monotonic()
                if now - self._discovered_at > SOON:
                    self._discovered_at = float("-inf")
                    await self._discover(now)
        return queue in self.reaches

    async def _sample_all(self) -> None:
        gate, waiting = asyncio.Semaphore(AT_ONCE), set(self.reaches)

        async def one(reach: Reach) -> None:
            async with gate:
                await self.sample(reach)
                waiting.discard(reach.name)

        try:
            async with asyncio.timeout(ROUND):
                await asyncio.gather(*(one(reach) for reach in list(self.reaches.values())))
        except TimeoutError:
            for name in waiting:
                self.history(name).error = f"Not all queues answered within {ROUND:.0f} s."

    async def _discover(self, now: float) -> None:
        if self._source is None or now - self._discovered_at < DISCOVER:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                self._adopt(await self._source())
        except (TypedRMQError, TimeoutError) as error:
            self.error = str(error) or f"Redis did not answer within {PATIENCE:.0f} s"
        else:
            self.error, self._discovered_at = None, now

    def _adopt(self, queues: Iterable[DashboardQueue]) -> None:
        found = {queue.name: queue for queue in list(queues)[:MAX_QUEUES]}
        for name, queue in found.items():
            if name not in self.reaches:
                self.reaches[name], self.histories[name] = Reach(queue), History()
        for name in self.reaches.keys() - found.keys():
            del self.reaches[name], self.histories[name]

    async def sample(self, reach: Reach) -> None:
        """Look at one queue now."""
        history = self.history(reach.name)
        try:
            async with asyncio.timeout(PATIENCE):
                before, stats = history.latest, await reach.stats()
                history.record(time.time(), stats, self.interval)
                if stats.delayed and (before is None or stats.retried > before.retried):
                    history.record_retries(time.time(), await self._some(reach, "delayed"))
                if stats.done:
                    history.record_done(time.time(), await self._some(reach, "done"))
                if stats.in_flight:
                    consumers = await reach.consumers()
                    history.record_consumers(time.time(), consumers, self.interval)
        except (TypedRMQError, TimeoutError) as error:
            history.error = str(error) or f"Redis did not answer within {PATIENCE:.0f} s"

    async def _some(self, reach: Reach, state: State) -> Sequence[Peeked[object]]:
        """Some messages: fewer where they are large, as their payloads come along."""
        typical = self._sizes.get((reach.name, state), 10_000)
        found = await reach.peek(max(1, min(SOME, SOME_BYTES // typical)), state)
        if found:
            self._sizes[reach.name, state] = max(1, sum(len(s.raw) for s in found) // len(found))
        return found
