"""SAQ: https://saq-py.readthedocs.io"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from saq import Queue, Worker

from ..meter import Done
from .base import QUEUE, AsyncAdapter, Config, chunks

_GATHER = "enqueue, 100 at once by asyncio.gather"


class Saq(AsyncAdapter):
    packages = ("saq", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "10 jobs at a time",
            "https://saq-py.readthedocs.io/en/latest/",
            "at least once",
            "each",
            "job state, deduplicated by job key, result kept 10 min",
            bulk=_GATHER,
            handlers=10,
        ),
        "best": Config(
            "`concurrency=100`, `max_concurrent_ops=100`, jobs with `ttl=-1`",
            "https://saq-py.readthedocs.io/en/latest/",
            "at least once",
            "each",
            "job state, deduplicated by job key",
            bulk=_GATHER,
            handlers=100,
            least=1000,
        ),
    }

    def _queue(self) -> Queue:
        if self.config == "best":
            return Queue.from_url(self.url, name=QUEUE, max_concurrent_ops=100)
        return Queue.from_url(self.url, name=QUEUE)

    async def aopen(self) -> None:
        self.queue = self._queue()
        self.options = {"ttl": -1} if self.config == "best" else {}
        await self.queue.connect()
        await self.apublish(self.items.dicts(1, "order"))

    async def apublish(self, things: Sequence[Any]) -> None:
        enqueue, options = self.queue.enqueue, self.options
        for thing in things:
            await enqueue("handle", **options, **thing)

    async def abulk(self, things: Sequence[Any]) -> None:
        enqueue, options = self.queue.enqueue, self.options
        for chunk in chunks(things, 100):
            await asyncio.gather(*(enqueue("handle", **options, **thing) for thing in chunk))

    async def awork(self, done: Done, total: int | None) -> None:
        hit = self.hit

        async def handle(_ctx: Any, **_item: Any) -> None:
            hit()

        queue = self._queue()
        await queue.connect()
        handlers = self.settings.handlers
        worker = Worker(queue, [("handle", handle)], concurrency=handlers)
        worker.SIGNALS = []
        task = asyncio.create_task(worker.start())
        await done.await_()
        await asyncio.sleep(0.05)
        await worker.stop()
        await task
        await queue.disconnect()


ADAPTER = Saq
