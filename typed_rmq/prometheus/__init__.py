"""Prometheus: how queues stand, and what this process does with them (extra ``prometheus``).

``make_collector(queues)`` reports what Redis knows, for any number of queues, from any process.
``instrument(queue)`` adds what only the process at work knows: how long handling takes, and how
long a message is under way. ``python -m typed_rmq.prometheus`` is an exporter of its own.
"""

from __future__ import annotations

from ..errors import ConfigError

try:
    from .collector import QueueCollector, make_collector
    from .observing import instrument
except ImportError as _error:
    raise ConfigError(
        "typed_rmq.prometheus needs an optional library: pip install 'typed_rmq[prometheus]'"
    ) from _error

__all__ = ["QueueCollector", "instrument", "make_collector"]
