"""streaQ: https://streaq.readthedocs.io"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import streaq

from ..meter import Done
from .base import QUEUE, AsyncAdapter, Config, chunks

_DOCS = "https://streaq.readthedocs.io/en/latest/worker.html"


class Streaq(AsyncAdapter):
    packages = ("streaq", "coredis")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "16 tasks at a time, pickle",
            _DOCS,
            "at least once",
            "each",
            "job state, retries, result kept 5 min",
            bulk="enqueue_many of 500",
            handlers=16,
        ),
        "best": Config(
            "`concurrency=100`, tasks with `ttl=0` and `silent=True`, JSON",
            f"{_DOCS}; https://streaq.readthedocs.io/en/latest/task.html",
            "at least once",
            "each",
            "job state, retries",
            bulk="enqueue_many of 500",
            handlers=100,
            least=1000,
        ),
    }

    def _worker(self) -> tuple[Any, Any]:
        options: dict[str, Any] = {"redis_url": self.url, "queue_name": QUEUE}
        of_task: dict[str, Any] = {"name": "handle"}
        if self.config == "best":
            options.update(concurrency=100, serializer=json.dumps, deserializer=json.loads)
            of_task.update(ttl=0, silent=True)
        worker: Any = streaq.Worker(handle_signals=False, **options)
        hit = self.hit

        @worker.task(**of_task)
        async def handle(_item: dict[str, Any]) -> None:
            hit()

        return worker, handle

    async def aopen(self) -> None:
        self.worker, self.task = self._worker()
        ready = asyncio.Event()

        async def hold() -> None:
            async with self.worker:
                ready.set()
                await asyncio.Event().wait()

        self.holder = asyncio.create_task(hold())
        await ready.wait()
        await self.apublish(self.items.dicts(1, "order"))

    async def apublish(self, things: Sequence[Any]) -> None:
        enqueue = self.task.enqueue
        for thing in things:
            await enqueue(thing)

    async def abulk(self, things: Sequence[Any]) -> None:
        enqueue = self.task.enqueue
        for chunk in chunks(things):
            await self.worker.enqueue_many([enqueue(thing) for thing in chunk])

    async def awork(self, done: Done, total: int | None) -> None:
        worker, _ = self._worker()
        task = asyncio.create_task(worker.run_async())
        await done.await_()
        await asyncio.sleep(0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


ADAPTER = Streaq
