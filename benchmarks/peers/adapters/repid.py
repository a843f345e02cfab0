"""repid: https://repid.aleksul.space"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar

from repid import Repid, Router
from repid.connections import RedisServer

from ..meter import Done
from .base import QUEUE, AsyncAdapter, Config, chunks

_DOCS = "https://repid.aleksul.space/latest/user_guide/workers/"
_GATHER = "send_message_json, 100 at once by asyncio.gather"


class RepidAdapter(AsyncAdapter):
    packages = ("repid", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "reads of 10, 1,000 tasks at a time",
            _DOCS,
            "at least once",
            "each",
            bulk=_GATHER,
            handlers=1000,
            least=1000,
        ),
        "best": Config(
            "`batch_size=100`, 1,000 tasks at a time",
            "https://github.com/aleksul/repid/blob/main/repid/connections/redis/message_broker.py",
            "at least once",
            "each",
            bulk=_GATHER,
            handlers=1000,
            least=1000,
        ),
    }

    def _app(self) -> Any:
        app = Repid(title="bench", version="1.0.0")
        options: dict[str, Any] = {"batch_size": 100} if self.config == "best" else {}
        app.servers.register_server("default", RedisServer(self.url, **options), is_default=True)
        return app

    async def aopen(self) -> None:
        self.app = self._app()
        await self.app.servers.default.connect()
        await self.apublish(self.items.dicts(1, "order"))

    async def apublish(self, things: Sequence[Any]) -> None:
        send, headers = self.app.send_message_json, {"topic": "handle"}
        for thing in things:
            await send(channel=QUEUE, payload=thing, headers=headers)

    async def abulk(self, things: Sequence[Any]) -> None:
        send, headers = self.app.send_message_json, {"topic": "handle"}
        for chunk in chunks(things, 100):
            calls = (send(channel=QUEUE, payload=thing, headers=headers) for thing in chunk)
            await asyncio.gather(*calls)

    async def awork(self, done: Done, total: int | None) -> None:
        app, router, hit = self._app(), Router(), self.hit

        @router.actor(channel=QUEUE)
        async def handle(
            order_id: int,  # noqa: ARG001  # repid hands over by name
            sku: str,  # noqa: ARG001
            quantity: int,  # noqa: ARG001
            note: str,  # noqa: ARG001
        ) -> None:
            hit()

        app.include_router(router)
        async with app.servers.default.connection():
            task = asyncio.create_task(app.run_worker(register_signals=[]))
            await done.await_()
            await asyncio.sleep(0.05)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


ADAPTER = RepidAdapter
