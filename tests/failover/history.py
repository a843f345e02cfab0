"""Publishers and consumers, of threads and of asyncio, and a record of what they were told.

What was confirmed is compared with what was handled: ``check_lossless`` where a failover must not
cost anything, ``check_explained`` where Redis itself may lose what it had confirmed just before.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from tests.fleets import until
from typed_rmq import Connection, Queue, QueueUnavailable

__all__ = ["History", "load"]

WINDOW = 1.5
"""Seconds before a failover of which Redis may lose what it has confirmed: replicas lag."""


class History:
    """What publishers and consumers of one queue saw."""

    def __init__(self, name: str, sync_address: Callable[[], Any], async_address: Any) -> None:
        self.name = name
        self.sync_address = sync_address
        self.async_address = async_address
        self.confirmed: dict[int, float] = {}
        self.handled: list[tuple[int, float]] = []
        self.refused: list[str] = []
        self.errors: list[BaseException] = []
        self.publishing = True
        self.consuming = True
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []

    def _queue(self, address: Any) -> tuple[Connection, Queue[int]]:
        connection = Connection(address, retry_budget=30)
        return connection, Queue[int](self.name, connection, dedup=None, lease=5)

    # --- the four of them

    def _publish(self) -> None:
        address = self.sync_address()
        connection, queue = self._queue(address)
        with connection, queue:
            while self.publishing:
                number = next(self._numbers)
                try:
                    queue.publish(number)
                    self.confirmed[number] = time.monotonic()
                except QueueUnavailable as error:
                    self.refused.append(str(error))
                time.sleep(0.002)
        _close(address)

    async def _apublish(self) -> None:
        address = self.async_address()
        connection, queue = self._queue(address)
        async with connection, queue:
            while self.publishing:
                number = next(self._numbers)
                try:
                    await queue.apublish(number)
                    self.confirmed[number] = time.monotonic()
                except QueueUnavailable as error:
                    self.refused.append(str(error))
                await asyncio.sleep(0.002)
        await _aclose(address)

    def _consume(self) -> None:
        address = self.sync_address()
        connection, queue = self._queue(address)
        with connection, queue:
            while self.consuming:
                for msg in queue.consume(idle_timeout=0.3, prefetch=5):
                    with msg as number:
                        self.handled.append((number, time.monotonic()))
        _close(address)

    async def _aconsume(self) -> None:
        address = self.async_address()
        connection, queue = self._queue(address)
        async with connection, queue:
            while self.consuming:
                async for msg in queue.consume(idle_timeout=0.3, prefetch=5):
                    with msg as number:
                        self.handled.append((number, time.monotonic()))
        await _aclose(address)

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            self.errors.append(error)

    def start(self) -> None:
        for work in (
            *(self._publish, self._consume),
            *(lambda: asyncio.run(self._apublish()), lambda: asyncio.run(self._aconsume())),
        ):
            thread = threading.Thread(target=self._run, args=(work,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def wait_for(self, more: int = 100) -> None:
        """Until so many more were confirmed, and as many handled: they are all at work."""
        confirmed, handled = len(self.confirmed) + more, len(self.handled) + more
        until(
            lambda: (
                self.errors or (len(self.confirmed) >= confirmed and len(self.handled) >= handled)
            ),
            f"{more} more messages",
        )
        assert not self.errors, self.errors

    def finish(self) -> None:
        """No more publishes; consumers go on until the queue is empty."""
        self.publishing = False
        for thread in (self._threads[0], self._threads[2]):
            thread.join(40)
            assert not thread.is_alive(), "a publisher hangs"
        address = self.sync_address()
        connection, queue = self._queue(address)
        with connection, queue:
            until(lambda: _is_empty(queue), "the queue drains", 40)
            self.consuming = False
            for thread in self._threads:
                thread.join(40)
                assert not thread.is_alive(), "a consumer hangs"
            self.stats = queue.stats()
            queue.purge()
        _close(address)

    # --- verdicts

    def _check(self) -> Counter[int]:
        assert not self.errors, self.errors
        assert not self.refused, self.refused
        assert (self.stats.ready, self.stats.in_flight, self.stats.dead) == (0, 0, 0)
        times = Counter(number for number, _ in self.handled)
        # A number whose publish was still on its way is the only one that may come unconfirmed.
        assert times.keys() <= self.confirmed.keys(), "handled, and never confirmed"
        return times

    def check_lossless(self) -> None:
        times = self._check()
        assert times.keys() == self.confirmed.keys()
        assert set(times.values()) == {1}
        stats = self.stats
        assert (stats.completed, stats.published) == (len(self.confirmed),) * 2
        assert (stats.failed, stats.stale) == (0, 0)

    def check_explained(self, began: float, ended: float) -> None:
        """Lost or handled twice is only what was confirmed just before the master went."""
        times = self._check()
        lost = self.confirmed.keys() - times.keys()
        for number in lost:
            assert began - WINDOW < self.confirmed[number] < ended, "lost, and not by the failover"
        for number, moment in self.handled:
            if times[number] > 1:
                assert began - WINDOW < moment, "handled twice, and not for the failover"


def _is_empty(queue: Queue[int]) -> bool:
    stats = queue.stats()
    return stats.ready + stats.in_flight + stats.delayed == 0


def _close(address: Any) -> None:
    if not isinstance(address, str):
        address.close()


async def _aclose(address: Any) -> None:
    if not isinstance(address, str):
        await address.aclose()


@contextmanager
def load(history: History) -> Any:
    """Publishers and consumers at work inside of the block, and finished after it."""
    history.start()
    try:
        history.wait_for()
        yield history
        history.wait_for()
        history.finish()
    finally:
        history.publishing = history.consuming = False
