"""The limit for asyncio: redis.asyncio without any queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import redis.asyncio

from ..items import as_json
from ..meter import Done
from .base import QUEUE, AsyncAdapter, Config, chunks

_DOCS = "https://redis.io/docs/latest/commands/lpop/"


class RawAsync(AsyncAdapter):
    packages = ("redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "single": Config(
            "LPUSH and LPOP, a message a call", _DOCS, "at most once", "none", bulk="LPUSH of 500"
        ),
    }

    async def aopen(self) -> None:
        self.client: Any = redis.asyncio.Redis(port=self.port)
        await self.client.ping()

    def make(self, items: list[dict[str, Any]]) -> Sequence[Any]:
        return [as_json(item) for item in items]

    async def apublish(self, things: Sequence[Any]) -> None:
        lpush = self.client.lpush
        for thing in things:
            await lpush(QUEUE, thing)

    async def abulk(self, things: Sequence[Any]) -> None:
        for chunk in chunks(things):
            await self.client.lpush(QUEUE, *chunk)

    async def awork(self, done: Done, total: int | None) -> None:
        while total is None:
            if await self.client.blpop([QUEUE], timeout=4) is not None:
                self.hit()
        hit, lpop = self.hit, self.client.lpop
        while await lpop(QUEUE) is not None:
            hit()


ADAPTER = RawAsync
