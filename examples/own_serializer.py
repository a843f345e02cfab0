"""A serializer of your own: here the line format of an old till, one field after another.

python -m examples.own_serializer
"""

from __future__ import annotations

import random
from decimal import Decimal

from pydantic import BaseModel

from typed_rmq import Json, Queue

from .options import redis_url


class Sale(BaseModel):
    """One receipt of the till."""

    receipt: int
    sku: str
    total: Decimal


class TillLine:
    """``0000042|TEA-SENCHA-250|16.50``, which the till and typed_rmq both understand."""

    content_type = "text/x-till-line"

    def dumps(self, payload: Sale, /) -> bytes:
        """The line."""
        return f"{payload.receipt:07d}|{payload.sku}|{payload.total:.2f}".encode()

    def loads(self, data: bytes, /) -> Sale:
        """The sale; a bad line raises ValueError and goes to the dead letters."""
        receipt, sku, total = data.decode().split("|")
        return Sale.model_validate({"receipt": receipt, "sku": sku, "total": total})


def main() -> None:
    url = redis_url(__doc__)
    number = random.randrange(1_000_000)
    till = Queue[Sale]("example-own-serializer", url, serializer=TillLine())
    shop = Queue[Sale]("example-own-serializer", url, serializer=Json())
    with till, shop:
        till.purge()
        till.publish(Sale(receipt=number, sku="TEA-SENCHA-250", total=Decimal("16.50")))
        shop.publish(Sale(receipt=number + 1, sku="COF-FILTER-V60", total=Decimal("6.20")))
        for seen in till.peek():
            print(f"stored: {seen.raw.decode()}")
        # Each message says how it was written; a shipped format such as JSON is always readable.
        for msg in till.consume(until_empty=True):
            with msg as sale:
                print(f"received: receipt {sale.receipt - number}, {sale.sku}, {sale.total}")


if __name__ == "__main__":
    main()
