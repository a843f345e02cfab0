"""Workers that handle several messages at once: in threads with ``run``, in tasks with ``arun``.

python -m examples.worker_concurrency
"""

from __future__ import annotations

import asyncio
import random
import threading
import time

from typed_rmq import Message, Queue

from .models import Order, make_order
from .options import redis_url

ORDERS = 20
WORK = 0.1
"""Seconds that each order waits for a service elsewhere."""


class Meter:
    """How many handlers ran at the same time, at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = self.most = 0
        self.handled: list[str] = []

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


def fill(orders: Queue[Order]) -> None:
    rng = random.Random()
    numbers = rng.sample(range(1_000_000), ORDERS)
    orders.publish_many(make_order(number, rng) for number in numbers)


def in_threads(orders: Queue[Order]) -> None:
    fill(orders)
    meter = Meter()

    def ship(order: Order) -> None:
        with meter:
            time.sleep(WORK)
            meter.handled.append(order.order_id)

    started = time.monotonic()
    orders.run(ship, concurrency=4, until_empty=True)
    report("run, 4 threads", meter, started)


async def in_tasks(orders: Queue[Order]) -> None:
    fill(orders)
    meter = Meter()

    async def ship(msg: Message[Order]) -> None:  # annotated so, it gets the whole message
        with meter:
            await asyncio.sleep(WORK)
            meter.handled.append(f"{msg.payload.order_id}, attempt {msg.attempt}")

    started = time.monotonic()
    await orders.arun(ship, concurrency=10, until_empty=True)
    report("arun, 10 tasks", meter, started)


def report(what: str, meter: Meter, started: float) -> None:
    seconds = time.monotonic() - started
    print(
        f"{what}: {len(set(meter.handled))} orders of {WORK} s each in {seconds:.1f} s,"
        f" at most {meter.most} at a time"
    )


async def amain(url: str | None) -> None:
    async with Queue[Order]("example-workers", url) as orders:
        await in_tasks(orders)


def main() -> None:
    url = redis_url(__doc__)
    with Queue[Order]("example-workers", url) as orders:
        orders.purge()
        in_threads(orders)
    asyncio.run(amain(url))


if __name__ == "__main__":
    main()
