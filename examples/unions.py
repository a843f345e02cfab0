"""One queue for several kinds of events, told apart by a discriminated union.

python -m examples.unions
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Annotated, Literal, assert_never

from pydantic import BaseModel, Field

from typed_rmq import Queue

from .options import redis_url


class Created(BaseModel):
    """Somebody ordered."""

    kind: Literal["created"] = "created"
    order_id: str
    sku: str


class Paid(BaseModel):
    """The money is there."""

    kind: Literal["paid"] = "paid"
    order_id: str
    amount: Decimal


class Cancelled(BaseModel):
    """Nothing came of it."""

    kind: Literal["cancelled"] = "cancelled"
    order_id: str
    reason: str


OrderEvent = Annotated[Created | Paid | Cancelled, Field(discriminator="kind")]


def describe(event: Created | Paid | Cancelled) -> str:
    match event:
        case Created():
            return f"{event.order_id} created for {event.sku}"
        case Paid():
            return f"{event.order_id} paid with {event.amount:.2f}"
        case Cancelled():
            return f"{event.order_id} cancelled: {event.reason}"
        case _:
            assert_never(event)  # the type checker sees when a kind is forgotten


def main() -> None:
    url = redis_url(__doc__)
    order_id = f"ord-{random.randrange(1_000_000):06d}"
    with Queue[OrderEvent]("example-unions", url) as events:
        events.publish(Created(order_id=order_id, sku="TEA-SENCHA-250"))
        events.publish(Paid(order_id=order_id, amount=Decimal("16.50")))
        events.publish(Cancelled(order_id=order_id, reason="ordered twice"))
        for msg in events.consume(until_empty=True):
            with msg as event:
                print(f"{type(event).__name__:<10} {describe(event)}")


if __name__ == "__main__":
    main()
