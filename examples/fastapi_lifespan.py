"""A FastAPI service that publishes orders in an endpoint and ships them in the background.

uvicorn examples.fastapi_lifespan:app        # as a service
python -m examples.fastapi_lifespan          # drives itself: three orders, then ends
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, cast

import httpx
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from typed_rmq import Consumer, Queue

from .models import Order, make_order
from .options import redis_url

shipped: list[str] = []


class Accepted(BaseModel):
    """What the endpoint answers."""

    message_id: str
    duplicate: bool


async def ship_orders(consumer: Consumer[Order]) -> None:
    async for msg in consumer:
        with msg as order:
            await asyncio.sleep(0.01)
            shipped.append(order.order_id)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """The queue lives as long as the service, and so does its consumer."""
    async with Queue[Order]("example-fastapi", os.environ.get("REDIS_URL")) as orders:
        app.state.orders = orders
        # The web server handles signals itself, so the consumer leaves them alone.
        consumer = orders.consume(stop_on_signals=False)
        shipping = asyncio.create_task(ship_orders(consumer))
        try:
            yield
        finally:
            consumer.stop()  # ends the loop after the order in hand
            await shipping


app = FastAPI(lifespan=lifespan)


def order_queue(request: Request) -> Queue[Order]:
    return cast("Queue[Order]", request.app.state.orders)


@app.post("/orders", status_code=202)
async def accept(order: Order, orders: Annotated[Queue[Order], Depends(order_queue)]) -> Accepted:
    """Answers once Redis has the order. A second click is answered with the first one's id."""
    receipt = await orders.apublish(order)
    return Accepted(message_id=receipt.id, duplicate=receipt.duplicate)


async def drive() -> None:
    """What a browser and a web server would do, in one process and without a port."""
    transport = httpx.ASGITransport(app)
    client = httpx.AsyncClient(transport=transport, base_url="http://shop")
    rng = random.Random()
    async with app.router.lifespan_context(app), client:
        for _ in range(3):
            order = make_order(rng.randrange(1_000_000), rng)
            for click in ("first", "second"):
                response = await client.post("/orders", json=order.model_dump(mode="json"))
                accepted = Accepted.model_validate_json(response.content)
                print(
                    f"{order.order_id}, {click} click: {response.status_code},"
                    f" {'duplicate' if accepted.duplicate else 'accepted'}"
                )
        refused = await client.post("/orders", json={"order_id": "none"})
        print(f"an incomplete order: {refused.status_code}")
        while len(shipped) < 3:
            await asyncio.sleep(0.01)
    print(f"shipped in the background: {len(shipped)}")


def main() -> None:
    url = redis_url(__doc__)
    if url is not None:
        os.environ["REDIS_URL"] = url  # services are configured by their environment
    asyncio.run(drive())


if __name__ == "__main__":
    main()
