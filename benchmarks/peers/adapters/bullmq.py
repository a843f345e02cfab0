"""BullMQ's Python package: https://docs.bullmq.io/python/introduction"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from bullmq import Queue, Worker

from ..meter import Done
from .base import QUEUE, AsyncAdapter, Config, chunks

_DOCS = "https://docs.bullmq.io/python/introduction"


class Bullmq(AsyncAdapter):
    packages = ("bullmq", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "1 job at a time",
            _DOCS,
            "at least once",
            "each",
            "job state, events, completed jobs kept",
            bulk="addBulk of 500",
        ),
        "best": Config(
            "`concurrency=100`, jobs with `removeOnComplete`",
            "https://docs.bullmq.io/python/workers; "
            "https://docs.bullmq.io/guide/queues/auto-removal-of-jobs",
            "at least once",
            "each",
            "job state, events",
            bulk="addBulk of 500",
            handlers=100,
            least=1000,
        ),
    }

    async def aopen(self) -> None:
        self.queue = Queue(QUEUE, {"connection": self.url})
        self.options: dict[str, Any] = {"removeOnComplete": True} if self.config == "best" else {}
        await self.apublish(self.items.dicts(1, "order"))

    async def apublish(self, things: Sequence[Any]) -> None:
        add, options = self.queue.add, self.options
        for thing in things:
            await add("handle", thing, options)

    async def abulk(self, things: Sequence[Any]) -> None:
        for chunk in chunks(things):
            jobs = [{"name": "handle", "data": thing, "opts": self.options} for thing in chunk]
            await self.queue.addBulk(jobs)

    async def awork(self, done: Done, total: int | None) -> None:
        hit = self.hit

        async def handle(_job: Any, _token: str) -> None:
            hit()

        handlers = self.settings.handlers
        options = {"connection": self.url, "concurrency": handlers, "autorun": False}
        worker = Worker(QUEUE, handle, options)
        task = asyncio.create_task(worker.run())
        await done.await_()
        await asyncio.sleep(0.05)
        await worker.close()
        await task


ADAPTER = Bullmq
