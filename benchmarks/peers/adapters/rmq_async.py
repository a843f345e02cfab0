"""redis-message-queue's asyncio half."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import redis.asyncio
from redis_message_queue.asyncio import RedisMessageQueue

from ..meter import Done
from .base import QUEUE, AsyncAdapter, Config

_DOCS = "https://github.com/Elijas/redis-message-queue/blob/main/docs/api-reference.md"


class RmqAsync(AsyncAdapter):
    packages = ("redis-message-queue", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "asyncio, 10 loops on one client",
            _DOCS,
            "at least once",
            "each",
            "dead letters",
            handlers=10,
            poll=0.25,
        ),
    }

    async def aopen(self) -> None:
        client = redis.asyncio.Redis(port=self.port)
        self.queue = RedisMessageQueue(QUEUE, client=client)
        await self.apublish(self.items.dicts(1, "order"))

    async def apublish(self, things: Sequence[Any]) -> None:
        publish = self.queue.publish
        for thing in things:
            await publish(thing)

    async def awork(self, done: Done, total: int | None) -> None:
        hit, process = self.hit, self.queue.process_message

        async def loop() -> None:
            while not done:
                async with process() as message:
                    if message is not None:
                        hit()

        await asyncio.gather(*(loop() for _ in range(self.settings.handlers)))


ADAPTER = RmqAsync
