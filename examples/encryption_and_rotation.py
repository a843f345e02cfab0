"""Encrypted payloads, and a new key without a pause.

python -m examples.encryption_and_rotation
"""

from __future__ import annotations

import logging
import random
import secrets

from typed_rmq import Encrypted, Json, Queue

from .models import Order, make_order
from .options import redis_url


def main() -> None:
    url = redis_url(__doc__)
    # What cannot be read is logged; here the dead letters are shown instead.
    logging.getLogger("typed_rmq").setLevel(logging.CRITICAL)
    rng = random.Random()
    old_key, new_key = secrets.token_bytes(32), secrets.token_bytes(32)  # AES-256

    def queue(*keys: bytes) -> Queue[Order]:
        """The first key encrypts; every key given can decrypt."""
        return Queue[Order]("example-encryption", url, serializer=Encrypted(Json(), keys=keys))

    with queue(old_key) as before, queue(new_key, old_key) as during, queue(new_key) as after:
        before.purge()
        before.dead.purge()

        order = make_order(rng.randrange(1_000_000), rng)
        before.publish(order)
        (stored,) = before.peek()
        readable = order.customer.encode() in stored.raw
        print(f"Redis holds the customer's address in the open: {readable}")

        print("Rotation: consumers know both keys, and the new one encrypts.")
        during.publish(make_order(rng.randrange(1_000_000), rng))
        for msg in during.consume(until_empty=True):
            with msg as received:
                print(f"  read {received.order_id}, {'old' if received == order else 'new'} key")

        print("Afterwards: the old key is gone.")
        after.publish(make_order(rng.randrange(1_000_000), rng))
        before.publish(make_order(rng.randrange(1_000_000), rng))  # somebody forgot this one
        for msg in after.consume(until_empty=True):
            with msg:
                print("  read one with the new key")
        for letter in after.dead:
            print(f"  kept as a dead letter, unread: {letter.reason}")
        with queue(new_key, old_key) as repaired:
            print(f"  redriven with both keys: {repaired.dead.redrive()}")
            for msg in repaired.consume(until_empty=True):
                with msg:
                    print("  read the forgotten one")


if __name__ == "__main__":
    main()
