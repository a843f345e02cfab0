"""Histograms of what this process does."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import Final, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from ..errors import ConfigError
from ..events import Handled, Handling, Observer

__all__ = ["instrument"]

HANDLING_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
)  # fmt: skip
LATENCY_BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600,
)  # fmt: skip

OUTCOMES: Final = ("done", "retried", "released", "dead", "lost")


class Observable(Protocol):
    """A ``Queue`` of any type."""

    @property
    def name(self) -> str: ...

    def observe(self, observer: Observer) -> None: ...


class Timing(Observer):
    """Times one queue's messages."""

    def __init__(self, handling: Histogram, latency: Histogram, queue: str) -> None:
        # Looked up once: finding a child by its labels costs more than observing.
        self._outcomes = {outcome: handling.labels(queue, outcome) for outcome in OUTCOMES}
        self._latency = latency.labels(queue)

    def handling(self, event: Handling) -> Callable[[Handled], object]:
        """Times the handling, and the way from the publish to a good end."""
        began = perf_counter()
        published_at = event.delivery.published_at

        def end(handled: Handled) -> None:
            outcome = handled.outcome or "lost"
            self._outcomes[outcome].observe(perf_counter() - began)
            if outcome == "done" and published_at is not None:
                took = (datetime.now(UTC) - published_at).total_seconds()
                self._latency.observe(max(0.0, took))

        return end


_histograms: Final[weakref.WeakKeyDictionary[CollectorRegistry, tuple[Histogram, Histogram]]] = (
    weakref.WeakKeyDictionary()
)
_instrumented: Final[weakref.WeakSet[Observable]] = weakref.WeakSet()


def instrument(queue: Observable, *, registry: CollectorRegistry = REGISTRY) -> None:
    """Time what this process does with a queue, from now on.

    Two histograms are added to the registry, for all of its queues: ``typed_rmq_handling_seconds``
    by queue and outcome (``done``, ``retried``, ``released``, ``dead``, or ``lost``), and
    ``typed_rmq_latency_seconds``, from the publish of a message to its completion. The latter
    compares this machine's clock with that of Redis.

    Loops that run already are not timed.

    Raises:
        ConfigError: the queue is instrumented already.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> from typed_rmq import Queue
        >>> from typed_rmq.prometheus import instrument
        >>> registry = CollectorRegistry()
        >>> orders = Queue[int]("doc-timed")
        >>> instrument(orders, registry=registry)
        >>> _ = orders.publish(1)
        >>> for msg in orders.consume(until_empty=True):
        ...     with msg:
        ...         pass
        >>> labels = {"queue": "doc-timed", "outcome": "done"}
        >>> registry.get_sample_value("typed_rmq_handling_seconds_count", labels)
        1.0
    """
    if queue in _instrumented:
        raise ConfigError(f"queue {queue.name!r} is instrumented already", queue=queue.name)
    _instrumented.add(queue)
    if registry not in _histograms:
        _histograms[registry] = (
            Histogram(
                "typed_rmq_handling_seconds",
                "Time that the handling of a message took, by outcome",
                ["queue", "outcome"],
                buckets=HANDLING_BUCKETS,
                registry=registry,
            ),
            Histogram(
                "typed_rmq_latency_seconds",
                "Time from the publish of a message to its completion",
                ["queue"],
                buckets=LATENCY_BUCKETS,
                registry=registry,
            ),
        )
    handling, latency = _histograms[registry]
    queue.observe(Timing(handling, latency, queue.name))
