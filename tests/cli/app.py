"""The application that the commands of these tests name: ``tests.cli.app:orders``.

Imported by them alone: its queues take REDIS_URL.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from tests.cli.models import Order
from typed_rmq import Dedup, Message, Queue, Retry

orders = Queue[Order](
    "orders", lease=1.0, retry=Retry(max_attempts=2, backoff=0), keep_done=1000, dedup=None
)
keyed = Queue[Order]("keyed", dedup=Dedup(fields=("order_id",)))


def note(what: str) -> None:
    """A line in the journal of the test, written with one call."""
    with Path(os.environ["JOURNAL"]).open("ab", buffering=0) as journal:
        journal.write(f"{what}\n".encode())


def ship(order: Order) -> None:
    if order.sku == "bad":
        raise ValueError("no such article")
    if order.sku == "slow":
        note(f"started {order.order_id}")
        time.sleep(0.5)
    if order.sku == "hang":
        note(f"hangs {os.getpid()} {order.order_id}")
        time.sleep(60)
    if order.sku == "exit":
        note(f"exits {os.getpid()}")
        os._exit(9)
    note(f"shipped {order.order_id}")


def hang_once(msg: Message[Order]) -> None:
    """Hangs at the first delivery only: what is killed there is shipped by another."""
    if msg.attempt == 1 and msg.payload.sku == "hang":
        note(f"hangs {os.getpid()} {msg.payload.order_id}")
        time.sleep(60)
    note(f"shipped {msg.payload.order_id} {os.getpid()}")


async def aship(order: Order) -> None:
    await asyncio.sleep(0.001)
    note(f"shipped {order.order_id}")
