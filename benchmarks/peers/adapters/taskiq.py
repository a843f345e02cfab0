"""taskiq with taskiq-redis: https://taskiq-python.github.io"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import uvloop
from taskiq.api import run_receiver_task
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, RedisStreamBroker

from ..meter import Done
from .base import QUEUE, AsyncAdapter, Config, chunks

_DOCS = "https://github.com/taskiq-python/taskiq-redis#brokers"
_GATHER = "kiq, 100 at once by asyncio.gather"


class Taskiq(AsyncAdapter):
    packages = ("taskiq", "taskiq-redis", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "stream": Config(
            "RedisStreamBroker, 100 tasks at a time",
            _DOCS,
            "at least once",
            "each",
            bulk=_GATHER,
            handlers=100,
            least=1000,
        ),
        "list": Config(
            "ListQueueBroker, 100 tasks at a time",
            _DOCS,
            "at most once",
            "none",
            bulk=_GATHER,
            handlers=100,
            least=1000,
        ),
        "best": Config(
            "RedisStreamBroker, `max_prefetch=100`, no parameter parsing, ORJSONSerializer, uvloop",
            "https://taskiq-python.github.io/guide/cli.html",
            "at least once",
            "each",
            bulk=_GATHER,
            handlers=100,
            least=1000,
        ),
    }

    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        return uvloop.new_event_loop if self.config == "best" else None

    def _broker(self) -> tuple[Any, Any]:
        kind = ListQueueBroker if self.config == "list" else RedisStreamBroker
        broker: Any = kind(self.url, queue_name=QUEUE)
        if self.config == "best":
            broker = broker.with_serializer(ORJSONSerializer())

        @broker.task(task_name="handle")
        async def handle(_item: dict[str, Any]) -> None:
            self.hit()

        return broker, handle

    async def aopen(self) -> None:
        broker, self.task = self._broker()
        self.workers: list[Any] = []
        await broker.startup()
        await self.apublish(self.items.dicts(1, "order"))

    async def apublish(self, things: Sequence[Any]) -> None:
        kiq = self.task.kiq
        for thing in things:
            await kiq(thing)

    async def abulk(self, things: Sequence[Any]) -> None:
        kiq = self.task.kiq
        for chunk in chunks(things, 100):
            await asyncio.gather(*(kiq(thing) for thing in chunk))

    async def afill(self, things: Sequence[Any]) -> None:
        # A group that starts at its creation, as by default, must be there before the messages.
        self.workers.append(await self._started())
        await self.abulk(things)

    async def _started(self) -> Any:
        broker, _ = self._broker()
        broker.is_worker_process = True
        await broker.startup()
        return broker

    async def awork(self, done: Done, total: int | None) -> None:
        broker = self.workers.pop() if self.workers else await self._started()
        options: dict[str, Any] = {}
        if self.config == "best":
            options = {"max_prefetch": 100, "validate_params": False}
        task = asyncio.create_task(run_receiver_task(broker, **options))
        await done.await_()
        await asyncio.sleep(0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await broker.shutdown()


ADAPTER = Taskiq
