"""FastStream's Redis broker: https://faststream.ag2.ai"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar

import redis.asyncio
from faststream.redis import ListSub, RedisBroker, StreamSub

from ..meter import Done
from .base import BATCH, QUEUE, AsyncAdapter, Config, chunks

_LIST = "https://faststream.ag2.ai/latest/redis/list/"
_STREAM = "https://faststream.ag2.ai/latest/redis/streams/"
_GROUP = "bench-group"


class Faststream(AsyncAdapter):
    packages = ("faststream", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "list": Config(
            "list subscriber", _LIST, "at most once", "none", bulk="publish_batch of 500"
        ),
        "list batch": Config(
            "list subscriber, `batch=True`, `max_records=500`: a handler gets a list",
            f"{_LIST}batch/",
            "at most once",
            "none",
            bulk="publish_batch of 500",
            poll=0.1,
            least=5000,
        ),
        "stream": Config(
            "stream subscriber in a group; one read takes the whole backlog",
            f"{_STREAM}groups/; https://faststream.ag2.ai/latest/redis/pipeline/",
            "at least once",
            "each",
            bulk="publish in a pipeline of 500",
        ),
        "stream batch": Config(
            "stream subscriber in a group, `batch=True`, `max_records=500`: a handler gets a list",
            f"{_STREAM}batch/",
            "at least once",
            "batch",
            bulk="publish in a pipeline of 500",
            least=5000,
        ),
    }

    @property
    def stream(self) -> bool:
        return self.config.startswith("stream")

    async def aopen(self) -> None:
        self.broker = RedisBroker(self.url, logger=None)
        self.client: Any = redis.asyncio.Redis(port=self.port)
        await self.broker.connect()
        await self.apublish(self.items.dicts(1, "order"))

    async def apublish(self, things: Sequence[Any]) -> None:
        publish = self.broker.publish
        if self.stream:
            for thing in things:
                await publish(thing, stream=QUEUE)
        else:
            for thing in things:
                await publish(thing, list=QUEUE)

    async def abulk(self, things: Sequence[Any]) -> None:
        for chunk in chunks(things):
            if self.stream:
                async with self.client.pipeline() as pipe:
                    for thing in chunk:
                        await self.broker.publish(thing, stream=QUEUE, pipeline=pipe)
                    await pipe.execute()
            else:
                await self.broker.publish_batch(*chunk, list=QUEUE)

    async def afill(self, things: Sequence[Any]) -> None:
        # A group starts at its creation: it must be there before the messages.
        await self._group()
        await self.abulk(things)

    async def _group(self) -> None:
        if self.stream:
            with contextlib.suppress(redis.asyncio.ResponseError):
                await self.client.xgroup_create(QUEUE, _GROUP, "$", mkstream=True)

    def _source(self) -> dict[str, Any]:
        if self.config == "list":
            return {"list": QUEUE}
        if self.config == "list batch":
            return {"list": ListSub(QUEUE, batch=True, max_records=BATCH)}
        options: dict[str, Any] = {"group": _GROUP, "consumer": "bench"}
        if self.config == "stream batch":
            options.update(batch=True, max_records=BATCH)
        return {"stream": StreamSub(QUEUE, **options)}

    async def awork(self, done: Done, total: int | None) -> None:
        broker = RedisBroker(self.url, logger=None)
        subscriber = broker.subscriber(**self._source())
        hit, hit_many = self.hit, self.hit_many
        if self.config.endswith("batch"):

            @subscriber
            async def handle_many(items: list[dict[str, Any]]) -> None:
                hit_many(len(items))

        else:

            @subscriber
            async def handle(_item: dict[str, Any]) -> None:
                hit()

        await self._group()
        if self.config == "stream":
            # It fetches all of a backlog at once: its slice must begin before that.
            self.begin()
        await broker.start()
        await done.await_()
        await broker.stop()


ADAPTER = Faststream
