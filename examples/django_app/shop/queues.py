"""The queues of the shop."""

from functools import cache

from django.conf import settings
from pydantic import BaseModel

from typed_rmq import Queue


class ShipOrder(BaseModel):
    """The database has the order; a message only says which."""

    order_id: int


@cache  # made when first needed, so that settings can still be overridden; shared by all threads
def orders() -> Queue[ShipOrder]:
    """The orders to ship."""
    return Queue[ShipOrder]("orders", settings.ORDERS_REDIS_URL, lease=settings.ORDERS_LEASE)
