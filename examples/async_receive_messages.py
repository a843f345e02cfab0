"""Receives orders with asyncio until Ctrl-C; start several to share the work.

python -m examples.async_receive_messages
python -m examples.async_receive_messages --until-empty
"""

from __future__ import annotations

import asyncio

from typed_rmq import Queue

from .models import Order
from .options import parser


async def receive(url: str | None, count: int | None, work: float, *, until_empty: bool) -> None:
    received = 0
    async with Queue[Order]("orders", url, lease=10.0) as orders:
        print("Receiving orders. Ctrl-C ends after the order in hand.", flush=True)
        async for msg in orders.consume(until_empty=until_empty, max_messages=count):
            with msg as order:
                await asyncio.sleep(work)  # ship it
                received += 1
                print(f"received {order.order_id}: {order.quantity} x {order.sku}", flush=True)
    print(f"Received {received} orders.")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=int, help="stop after so many orders; default: never")
    arguments.add_argument("--until-empty", action="store_true", help="stop when nothing is left")
    arguments.add_argument("--work", type=float, default=0.1, help="seconds for each order (0.1)")
    options = arguments.parse_args()
    asyncio.run(receive(options.url, options.count, options.work, until_empty=options.until_empty))


if __name__ == "__main__":
    main()
