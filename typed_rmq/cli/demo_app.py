"""The application of ``typed-rmq demo``: a model, a queue, a handler."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from typed_rmq import Connection, Queue, Retry

__all__ = ["CLOSED", "QUEUE", "Order", "WarehouseClosedError", "order_queue", "pack"]

QUEUE: Final = "demo-orders"
LEASE: Final = 2.0
WORK: Final = 0.02
CLOSED: Final = "TYPED_RMQ_DEMO_CLOSED"
"""Names the file that is there while warehouse 3 is closed."""


class Order(BaseModel):
    """An order of the demo."""

    order_id: int
    sku: str
    warehouse: int


class WarehouseClosedError(Exception):
    """Nobody packs there."""


def order_queue(connection: Connection | None = None) -> Queue[Order]:
    """The queue, with a short lease, so that nobody has to wait for long."""
    return Queue[Order](
        QUEUE, connection, lease=LEASE, retry=Retry(max_attempts=2, backoff=0.3), keep_done=1000
    )


def pack(order: Order) -> None:
    """The handler: packs an order."""
    time.sleep(WORK)
    if order.warehouse == 3 and Path(os.environ[CLOSED]).exists():
        raise WarehouseClosedError("warehouse 3 is closed")


def __getattr__(name: str) -> Queue[Order]:
    # `consume --queue typed_rmq.cli.demo_app:orders`; made only where somebody asks for it.
    if name == "orders":
        return order_queue()
    raise AttributeError(name)
