"""Receives orders until Ctrl-C; start several to share the work.

    python -m examples.receive_messages
    python -m examples.receive_messages --until-empty

Kill one with ``kill -9``: within the lease its orders go to the others.
"""

from __future__ import annotations

import time

from typed_rmq import Queue

from .models import Order
from .options import parser


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=int, help="stop after so many orders; default: never")
    arguments.add_argument("--until-empty", action="store_true", help="stop when nothing is left")
    arguments.add_argument("--work", type=float, default=0.1, help="seconds for each order (0.1)")
    options = arguments.parse_args()

    received = 0
    with Queue[Order]("orders", options.url, lease=10.0) as orders:
        print("Receiving orders. Ctrl-C ends after the order in hand.", flush=True)
        for msg in orders.consume(until_empty=options.until_empty, max_messages=options.count):
            with msg as order:
                time.sleep(options.work)  # ship it
                received += 1
                print(f"received {order.order_id}: {order.quantity} x {order.sku}", flush=True)
    print(f"Received {received} orders.")


if __name__ == "__main__":
    main()
