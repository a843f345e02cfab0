"""The payloads of these tests."""

from __future__ import annotations

from pydantic import BaseModel


class Order(BaseModel):
    order_id: int
    sku: str = "A"
