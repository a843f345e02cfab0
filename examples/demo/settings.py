"""What all processes of the demo agree on."""

from __future__ import annotations

from examples.models import Order
from typed_rmq import Queue, Retry

__all__ = ["LEASE", "order_queue"]

LEASE = 2.0
"""Seconds until a killed worker's orders go to the others. Short, as a demo should be."""


def order_queue(url: str) -> Queue[Order]:
    """The demo's queue; deduplication by the whole content is the default."""
    return Queue[Order](
        "demo-orders",
        url,
        lease=LEASE,
        retry=Retry(max_attempts=5, backoff=0.2),
        keep_done=10_000,  # the queue's own log of completions, which the sums are checked with
    )
