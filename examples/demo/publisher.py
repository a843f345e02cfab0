"""One publisher process: reads its share of the lines and publishes the orders among them."""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from examples.models import Order
from typed_rmq import Receipt

from .journal import EventName, Journal
from .settings import order_queue

__all__ = ["main", "why_refused"]

BATCH = 25


def why_refused(error: ValidationError) -> str:
    """The first problem, short, and without the value that caused it."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "line"
    what = "not JSON" if first["type"] == "json_invalid" else first["msg"]
    return f"{where}: {what}"


def orders_of(lines: list[str], journal: Journal) -> Iterator[Order]:
    """The valid orders; what is refused goes to the journal."""
    for line in lines:
        try:
            yield Order.model_validate_json(line)
        except ValidationError as error:
            journal.write("refused", why=why_refused(error))


def record(order: Order, receipt: Receipt, journal: Journal) -> None:
    event: EventName = "duplicate" if receipt.duplicate else "published"
    journal.write(event, message_id=receipt.id, order_id=order.order_id)


def publish_one_by_one(url: str, lines: list[str], journal: Journal, pause: float) -> None:
    with order_queue(url) as queue:
        for order in orders_of(lines, journal):
            record(order, queue.publish(order), journal)
            time.sleep(pause)


async def publish_in_batches(url: str, lines: list[str], journal: Journal, pause: float) -> None:
    async with order_queue(url) as queue:
        orders = list(orders_of(lines, journal))
        for start in range(0, len(orders), BATCH):
            batch = orders[start : start + BATCH]
            receipts = await queue.apublish_many(batch)
            for order, receipt in zip(batch, receipts, strict=True):
                record(order, receipt, journal)
            await asyncio.sleep(pause * len(batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--mode", choices=("sync", "async"), required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--orders", type=Path, required=True)
    parser.add_argument("--share", type=int, required=True, help="0 or 1: which half of the lines")
    parser.add_argument("--pause", type=float, required=True, help="seconds after each order")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)

    # Every other line: so an order and its repeat often meet in two publishers at once.
    lines = options.orders.read_text(encoding="utf-8").splitlines()[options.share :: 2]
    with Journal(options.journal, options.name) as journal:
        if options.mode == "sync":
            publish_one_by_one(options.url, lines, journal, options.pause)
        else:
            asyncio.run(publish_in_batches(options.url, lines, journal, options.pause))
        journal.write("read", count=len(lines))


if __name__ == "__main__":
    main()
