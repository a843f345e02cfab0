"""Deduplication: what counts as the same message, and for how long.

python -m examples.dedup_keys
"""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel

from typed_rmq import Dedup, DedupKey, Queue, Receipt

from .models import Order, make_order
from .options import redis_url


class Payment(BaseModel):
    """One attempt to pay. Only the marked field tells payments apart."""

    payment_id: Annotated[str, DedupKey]
    gateway: str


def told(receipt: Receipt) -> str:
    if receipt.conflict:
        return "duplicate, and a conflict: the same key with other content"
    return "duplicate" if receipt.duplicate else "stored"


def main() -> None:
    url = redis_url(__doc__)
    # Random orders, so that a second run within the window shows the same as the first one.
    rng = random.Random()
    order = make_order(rng.randrange(1_000_000), rng)
    larger = order.model_copy(update={"quantity": order.quantity + 1})

    print("By the whole content (the default):")
    with Queue[Order]("example-dedup-content", url) as orders:
        print("  an order           ", told(orders.publish(order)))
        print("  the same again     ", told(orders.publish(order.model_copy())))
        print("  with more pieces   ", told(orders.publish(larger)))
        orders.purge()

    print("By one field, Dedup(fields=('order_id',)):")
    with Queue[Order]("example-dedup-field", url, dedup=Dedup(fields=("order_id",))) as orders:
        print("  an order           ", told(orders.publish(order)))
        print("  with more pieces   ", told(orders.publish(larger)))
        orders.purge()

    print("By a key of your own, Dedup(key=...):")
    with Queue[Order](
        "example-dedup-key", url, dedup=Dedup(key=lambda order: order.customer)
    ) as orders:
        other = make_order(rng.randrange(1_000_000), rng).model_copy(
            update={"customer": order.customer}
        )
        print("  a customer's order ", told(orders.publish(order)))
        print("  the next of theirs ", told(orders.publish(other)))
        orders.purge()

    print("By a field marked in the model, Annotated[str, DedupKey]:")
    with Queue[Payment]("example-dedup-marked", url) as payments:
        payment_id = f"pay-{rng.randrange(1_000_000):06d}"
        first = Payment(payment_id=payment_id, gateway="north")
        second = Payment(payment_id=payment_id, gateway="south")
        print("  by gateway north   ", told(payments.publish(first)))
        print("  by gateway south   ", told(payments.publish(second)))
        payments.purge()

    print("By a key given with the call, dedup_key=:")
    with Queue[Order]("example-dedup-call", url) as orders:
        key = f"cart-{rng.randrange(1_000_000)}"
        print("  a cart             ", told(orders.publish(order, dedup_key=key)))
        print("  the same cart      ", told(orders.publish(order, dedup_key=key)))
        print("  another cart       ", told(orders.publish(order, dedup_key=key + "-b")))
        orders.purge()

    print("Within a window, Dedup(window=0.3 s):")
    brief = Dedup(window=timedelta(seconds=0.3))
    with Queue[Order]("example-dedup-window", url, dedup=brief) as orders:
        print("  an order           ", told(orders.publish(order)))
        print("  at once            ", told(orders.publish(order)))
        time.sleep(0.4)
        print("  after 0.4 s        ", told(orders.publish(order)))
        orders.purge()

    print("While the message lives, Dedup(until='done'):")
    with Queue[Order]("example-dedup-done", url, dedup=Dedup(until="done")) as orders:
        print("  an order           ", told(orders.publish(order)))
        print("  while it waits     ", told(orders.publish(order)))
        for msg in orders.consume(until_empty=True):
            msg.ack()
        print("  once it is done    ", told(orders.publish(order)))
        orders.purge()

    print("Off, dedup=None:")
    with Queue[Order]("example-dedup-off", url, dedup=None) as orders:
        print("  an order           ", told(orders.publish(order)))
        print("  the same again     ", told(orders.publish(order)))
        orders.purge()


if __name__ == "__main__":
    main()
