"""A dashboard without a network, and queues with something in every state."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from pydantic import BaseModel
from starlette.applications import Starlette

from typed_rmq import Queue, Retry
from typed_rmq.dashboard import create_app

ORIGIN = {"origin": "http://localhost:8070", "sec-fetch-site": "same-origin"}
"""What a browser sends along with a form of ours."""


class Order(BaseModel):
    order_id: int
    sku: str


def make_queue(name: str, url: str, **options: Any) -> Queue[Order]:
    options = {"dedup": None, "keep_done": 100, "retry": Retry(max_attempts=1), **options}
    return Queue[Order](name, url, **options)


def fill(queue: Queue[Order]) -> dict[str, str]:
    """One message done, one dead, one delayed, one ready; returns their ids by state."""
    ids: dict[str, str] = {}
    ids["done"] = queue.publish(Order(order_id=1, sku="done")).id
    for msg in queue.consume(until_empty=True):
        msg.ack()
    ids["dead"] = queue.publish(Order(order_id=2, sku="dead"), headers={"trace": "t-2"}).id
    for msg in queue.consume(until_empty=True):
        with msg:
            raise ValueError("out of paper")
    ids["delayed"] = queue.publish(Order(order_id=3, sku="delayed"), delay=600).id
    ids["ready"] = queue.publish(Order(order_id=4, sku="ready"), priority="high").id
    return ids


@asynccontextmanager
async def browse(
    *queues: Any, client: str = "127.0.0.1", host: str = "localhost:8070", **options: Any
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a dashboard for these queues, which are closed at the end."""
    app = create_app(queues, **options)
    async with running(app, client=client, host=host) as http:
        yield http
    for queue in queues:
        await queue.aclose()


@asynccontextmanager
async def running(
    app: Any, *, lifespan: Starlette | None = None, client: str = "127.0.0.1", host: str
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of any ASGI app, while the lifespan of ``lifespan`` (or its own) runs."""
    alive = lifespan or app
    transport = httpx.ASGITransport(app, client=(client, 1234))
    async with (
        alive.router.lifespan_context(alive),
        httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http,
    ):
        yield http
