"""What is sent: a model whose JSON is 107 bytes, and the same bytes for raw calls."""

from __future__ import annotations

from pydantic import BaseModel

__all__ = ["PAYLOAD_BYTES", "Order", "Orders"]

PAYLOAD_BYTES = 107


class Order(BaseModel):
    order_id: int
    sku: str
    quantity: int
    note: str


class Orders:
    """An endless supply of orders, each one different: none is a duplicate of another."""

    def __init__(self) -> None:
        # Nine digits from the beginning, so that all are of one length.
        self._last = 100_000_000

    def models(self, n: int) -> list[Order]:
        first = self._last + 1
        self._last += n
        return [_order(number) for number in range(first, first + n)]

    def raw(self, n: int) -> list[bytes]:
        return [order.model_dump_json().encode() for order in self.models(n)]


def _order(number: int) -> Order:
    return Order(
        order_id=number,
        sku=f"SKU-{number}",
        quantity=3,
        note="gift wrap, leave with neighbours if out.",
    )


assert len(_order(100_000_000).model_dump_json()) == PAYLOAD_BYTES
