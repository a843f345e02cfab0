"""The queues of an app, as a dashboard is given them: ``tests.dashboard.shop:orders``."""

from __future__ import annotations

import os

from pydantic import BaseModel

from typed_rmq import Queue, Retry

URL = os.environ.get("SHOP_REDIS_URL", "redis://127.0.0.1:1/0")


class Order(BaseModel):
    order_id: int
    sku: str
    note: str = ""


def shop_queue(name: str, url: str = URL) -> Queue[Order]:
    """A queue of the shop whose first failure is final."""
    return Queue[Order](name, url, dedup=None, keep_done=100, retry=Retry(max_attempts=1))


NAMES = ("story", "orders", "hostile", "choosing", "steering", "keyboard", "fresh", "csrf")

story, orders, hostile, choosing, steering, keyboard, fresh, csrf = map(shop_queue, NAMES)
