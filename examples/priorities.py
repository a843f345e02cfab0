"""Three priorities: what is urgent overtakes what waits.

python -m examples.priorities
"""

from __future__ import annotations

import random

from typed_rmq import Priority, Queue

from .models import Order, make_order
from .options import redis_url


def main() -> None:
    url = redis_url(__doc__)
    rng = random.Random()
    with Queue[Order]("example-priorities", url) as orders:
        orders.purge()
        lowest_first: tuple[Priority, ...] = ("low", "normal", "high")
        for priority in lowest_first:
            for number in (1, 2):
                orders.publish(
                    make_order(rng.randrange(1_000_000), rng),
                    priority=priority,
                    headers={"asked": f"{priority} {number}"},
                )
                print(f"published {priority} {number}")
        for msg in orders.consume(until_empty=True):
            with msg:
                print(f"delivered {msg.headers['asked']}")


if __name__ == "__main__":
    main()
