"""Publishes orders with asyncio until Ctrl-C, for the receivers in other terminals.

python -m examples.async_send_messages
python -m examples.async_send_messages --rate 200 --count 1000
"""

from __future__ import annotations

import asyncio
import contextlib
import random

from typed_rmq import Queue

from .models import Order, make_order
from .options import parser


async def send(url: str | None, count: int | None, rate: float) -> None:
    rng = random.Random()
    sent = duplicates = 0
    try:
        async with Queue[Order]("orders", url) as orders:
            print("Sending orders. Ctrl-C ends.", flush=True)
            while count is None or sent + duplicates < count:
                order = make_order(rng.randrange(1_000_000), rng)
                receipt = await orders.apublish(order)
                if receipt.duplicate:
                    duplicates += 1
                else:
                    sent += 1
                    print(f"sent {order.order_id}: {order.quantity} x {order.sku}", flush=True)
                await asyncio.sleep(1 / rate)
    finally:  # also where Ctrl-C cancelled this task
        print(f"\nSent {sent} orders; {duplicates} duplicates were not stored again.")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=int, help="stop after so many orders; default: never")
    arguments.add_argument("--rate", type=float, default=5.0, help="orders a second (5)")
    options = arguments.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(send(options.url, options.count, options.rate))


if __name__ == "__main__":
    main()
