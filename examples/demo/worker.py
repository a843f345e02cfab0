"""One worker process: fulfils orders until it is told to stop (SIGTERM)."""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from pathlib import Path

from examples.models import DISCONTINUED, Order
from typed_rmq import Message

from .journal import Journal
from .settings import order_queue

__all__ = ["main"]

ORPHANED_AFTER = 20.0
"""Seconds without an order after which a worker ends by itself, should the demo be killed."""


class WarehouseBusyError(Exception):
    """The warehouse did not answer. It will next time."""


class Fulfilment:
    """What is done with an order; the same for the sync and the async worker."""

    def __init__(self, journal: Journal, *, stall_at: int | None) -> None:
        self._journal = journal
        self._stall_at = stall_at
        self._delivered = 0

    def start(self, msg: Message[Order]) -> None:
        self._delivered += 1
        self._journal.write("delivered", message_id=msg.id, order_id=msg.payload.order_id)

    def finish(self, msg: Message[Order]) -> None:
        order = msg.payload
        if order.sku in DISCONTINUED:
            reason = f"{order.sku} is discontinued"
            self._journal.write("rejected", message_id=msg.id, order_id=order.order_id, why=reason)
            msg.reject(reason)  # trying again cannot help: to the dead letters at once
            return
        if self._stall_at is not None and self._delivered >= self._stall_at:
            self._journal.write("stalled", message_id=msg.id, order_id=order.order_id)
            time.sleep(3600)  # kill -9 arrives here, in the middle of the handler
        if order.sku.startswith("KIT-") and order.quantity == 12 and msg.attempt == 1:
            self._journal.write("failed", message_id=msg.id, order_id=order.order_id)
            # So it is tried again, after a while.
            raise WarehouseBusyError("the warehouse did not answer")
        self._journal.write("completed", message_id=msg.id, order_id=order.order_id)


def work(url: str, fulfilment: Fulfilment, pause: float) -> None:
    with order_queue(url) as queue:
        for msg in queue.consume(idle_timeout=ORPHANED_AFTER):
            with msg:
                fulfilment.start(msg)
                time.sleep(pause)
                fulfilment.finish(msg)


async def awork(url: str, fulfilment: Fulfilment, pause: float) -> None:
    async with order_queue(url) as queue:
        async for msg in queue.consume(idle_timeout=ORPHANED_AFTER):
            with msg:
                fulfilment.start(msg)
                await asyncio.sleep(pause)
                fulfilment.finish(msg)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--mode", choices=("sync", "async"), required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--pause", type=float, required=True, help="seconds of work on each order")
    parser.add_argument("--stall-at", type=int, help="wait for kill -9 within this delivery")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)

    with Journal(options.journal, options.name) as journal:
        fulfilment = Fulfilment(journal, stall_at=options.stall_at)
        if options.mode == "sync":
            work(options.url, fulfilment, options.pause)
        else:
            asyncio.run(awork(options.url, fulfilment, options.pause))


if __name__ == "__main__":
    main()
