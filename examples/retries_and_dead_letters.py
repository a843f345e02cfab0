"""What becomes of a message whose handler fails: retries, the dead letters, and back.

python -m examples.retries_and_dead_letters
"""

from __future__ import annotations

import logging
import random

from typed_rmq import Message, Queue, Retry

from .models import Order, make_order
from .options import redis_url


class CarrierDownError(Exception):
    """The carrier's service does not answer."""


class Shipping:
    """Ships to every country but Switzerland, whose carrier has a bad day."""

    def __init__(self) -> None:
        self.swiss_carrier_works = False

    def ship(self, msg: Message[Order]) -> None:
        """The handler: returning acks, an exception fails the attempt."""
        order = msg.payload
        if order.country == "SE" and msg.attempt < 3:
            print(f"  {order.country}: attempt {msg.attempt} failed")
            raise CarrierDownError("no answer, try again later")
        if order.country == "CH" and not self.swiss_carrier_works:
            print(f"  {order.country}: attempt {msg.attempt} failed")
            raise CarrierDownError("out of service")
        if order.sku == "CUP-PAPER-50":
            msg.reject("discontinued")  # trying again cannot help
            return
        print(f"  {order.country}: shipped in attempt {msg.attempt}")


def main() -> None:
    url = redis_url(__doc__)
    # Each failed attempt is logged with its traceback; here the prints are enough.
    logging.getLogger("typed_rmq").setLevel(logging.CRITICAL)
    rng = random.Random()
    shipping = Shipping()
    policy = Retry(max_attempts=3, backoff=0.1, factor=2.0)  # 0 to 0.1 s, then 0 to 0.2 s

    with Queue[Order]("example-retries", url, retry=policy) as orders:
        orders.dead.purge()
        for country, sku in (
            ("DE", "TEA-SENCHA-250"),  # goes well
            ("SE", "BOK-TEA-ATLAS"),  # fails twice
            ("CH", "GFT-CARD-25"),  # fails each time
            ("FR", "CUP-PAPER-50"),  # is rejected
        ):
            order = make_order(rng.randrange(1_000_000), rng, sku=sku)
            orders.publish(order.model_copy(update={"country": country}))

        print("Working:")
        orders.run(shipping.ship, idle_timeout=1.0)

        print(f"Dead letters: {len(orders.dead)}")
        for letter in orders.dead:
            country = letter.payload.country if letter.payload is not None else "?"
            print(f"  {country}: {letter.reason} (attempts: {letter.attempts})")
            if letter.error is not None and letter.traceback is not None:
                print(f"      {letter.error}")
                print(f"      {letter.traceback.strip().splitlines()[-2].strip()}")

        print("The carrier is back, so its dead letters are sent again:")
        shipping.swiss_carrier_works = True
        back = [letter.id for letter in orders.dead if letter.error is not None]
        print(f"  redriven: {orders.dead.redrive(*back)}")
        orders.run(shipping.ship, until_empty=True)

        print(f"Dead letters left: {len(orders.dead)}, purged: {orders.dead.purge()}")


if __name__ == "__main__":
    main()
