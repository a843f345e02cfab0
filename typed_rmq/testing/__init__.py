"""Test your consumers against a real Redis: helpers, and the fixtures of the pytest plugin.

The extra ``pytest`` brings a server along. With pytest, ask for the fixtures ``rmq_redis``,
``rmq_queue``, and ``rmq_faults``; all that is here works without pytest as well.
"""

from .factory import QueueFactory, QueueOptions
from .handling import (
    Delivery,
    Drained,
    adrain,
    await_until_empty,
    crash,
    drain,
    published,
    wait_until_empty,
)
from .proxy import Proxy
from .server import RedisForTests, redis_for_tests

__all__ = [
    "Delivery",
    "Drained",
    "Proxy",
    "QueueFactory",
    "QueueOptions",
    "RedisForTests",
    "adrain",
    "await_until_empty",
    "crash",
    "drain",
    "published",
    "redis_for_tests",
    "wait_until_empty",
]
