"""Publishes orders until Ctrl-C, for the receivers in other terminals.

    python -m examples.send_messages
    python -m examples.send_messages --rate 200 --count 1000

Start as many as you like, each in a terminal of its own.
"""

from __future__ import annotations

import random
import time

from typed_rmq import Queue

from .models import Order, make_order
from .options import parser


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=int, help="stop after so many orders; default: never")
    arguments.add_argument("--rate", type=float, default=5.0, help="orders a second (5)")
    options = arguments.parse_args()

    rng = random.Random()
    sent = duplicates = 0
    with Queue[Order]("orders", options.url) as orders:
        print("Sending orders. Ctrl-C ends.", flush=True)
        try:
            while options.count is None or sent + duplicates < options.count:
                order = make_order(rng.randrange(1_000_000), rng)
                receipt = orders.publish(order)
                if receipt.duplicate:
                    duplicates += 1
                else:
                    sent += 1
                    print(f"sent {order.order_id}: {order.quantity} x {order.sku}", flush=True)
                time.sleep(1 / options.rate)
        except KeyboardInterrupt:
            print()
    print(f"Sent {sent} orders; {duplicates} duplicates were not stored again.")


if __name__ == "__main__":
    main()
