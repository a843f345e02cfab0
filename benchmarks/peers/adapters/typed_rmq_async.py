"""This queue, in asyncio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from typed_rmq import Queue

from ...payload import Order
from ..meter import Done
from .base import QUEUE, AsyncAdapter, Config

_EXTRAS = "validated, deduplicated by content, retries and dead letters"


class TypedAsync(AsyncAdapter):
    packages = ("typed_rmq", "redis", "hiredis", "pydantic")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "a loop, async",
            "docs/consuming.md",
            "at least once",
            "batch",
            _EXTRAS,
            bulk="apublish_many by 500",
        ),
        "concurrency=100": Config(
            "`arun(handler, concurrency=100)`",
            "docs/consuming.md",
            "at least once",
            "batch",
            _EXTRAS,
            bulk="apublish_many by 500",
            handlers=100,
            least=1000,
        ),
    }

    async def aopen(self) -> None:
        self.queue = Queue[Order](QUEUE, self.url)
        await self.queue.apublish_many(self.make(self.items.dicts(1, "order")))

    def make(self, items: list[dict[str, Any]]) -> Sequence[Any]:
        return [Order(**item) for item in items]

    async def apublish(self, things: Sequence[Any]) -> None:
        publish = self.queue.apublish
        for thing in things:
            await publish(thing)

    async def abulk(self, things: Sequence[Any]) -> None:
        await self.queue.apublish_many(things, batch=500)

    async def awork(self, done: Done, total: int | None) -> None:
        hit, until_empty = self.hit, total is not None
        if self.settings.handlers > 1:

            async def handle(_order: Order) -> None:
                hit()

            await self.queue.arun(
                handle, concurrency=self.settings.handlers, until_empty=until_empty
            )
            return
        async for _msg in self.queue.consume(until_empty=until_empty):
            hit()


ADAPTER = TypedAsync
