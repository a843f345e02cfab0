"""arq: https://arq-docs.helpmanual.io"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar

import arq
import msgpack
from arq.connections import RedisSettings
from arq.worker import Worker, func

from ..meter import Done
from .base import AsyncAdapter, Config, chunks

_DOCS = "https://arq-docs.helpmanual.io/#arq.worker.Worker"
_GATHER = "enqueue_job, 100 at once by asyncio.gather"


class Arq(AsyncAdapter):
    packages = ("arq", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "10 jobs at a time, a poll each 0.5 s, pickle",
            _DOCS,
            "at least once",
            "each",
            "job state, deduplicated by job id, result kept 1 h",
            bulk=_GATHER,
            handlers=10,
            poll=0.5,
            least=400,
        ),
        "best": Config(
            "`max_jobs=100`, `poll_delay=0.01`, `keep_result=0`, msgpack",
            f"{_DOCS}; https://arq-docs.helpmanual.io/#custom-job-serializers",
            "at least once",
            "each",
            "job state, deduplicated by job id",
            bulk=_GATHER,
            handlers=100,
            least=1000,
            poll=0.01,
        ),
    }

    async def aopen(self) -> None:
        self.settings_ = RedisSettings(host="127.0.0.1", port=self.port)
        self.codec: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        if self.config == "best":
            self.codec = {
                "job_serializer": msgpack.packb,
                "job_deserializer": lambda data: msgpack.unpackb(data, raw=False),
            }
            self.options = {"max_jobs": 100, "poll_delay": 0.01, "keep_result": 0}
        self.pool = await arq.create_pool(self.settings_, **self.codec)
        await self.apublish(self.items.dicts(1, "order"))

    async def apublish(self, things: Sequence[Any]) -> None:
        enqueue = self.pool.enqueue_job
        for thing in things:
            await enqueue("handle", thing)

    async def abulk(self, things: Sequence[Any]) -> None:
        enqueue = self.pool.enqueue_job
        for chunk in chunks(things, 100):
            await asyncio.gather(*(enqueue("handle", thing) for thing in chunk))

    async def awork(self, done: Done, total: int | None) -> None:
        hit = self.hit

        async def handle(_ctx: Any, _item: Any) -> None:
            hit()

        worker = Worker(
            [func(handle, name="handle")],
            redis_settings=self.settings_,
            handle_signals=False,
            **self.codec,
            **self.options,
        )
        task = asyncio.create_task(worker.async_run())
        await done.await_()
        await asyncio.sleep(0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await worker.close()


ADAPTER = Arq
