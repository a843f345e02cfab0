"""A collector of what Redis knows of queues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ..errors import ConfigError
from ..polling import Poller, WithStats
from ..results import QueueStats
from ..retry import Duration, seconds

__all__ = ["QueueCollector", "make_collector"]

STATES: Final = ("ready", "delayed", "in_flight", "dead", "done")

COUNTERS: Final = {
    "published": "Messages stored",
    "duplicates": "Publishes answered with the id of an earlier message",
    "completed": "Messages acknowledged",
    "failed": "Failed attempts, crashes included",
    "retried": "Failed attempts that were scheduled again",
    "dead_lettered": "Messages that became dead letters",
    "released": "Messages given back without counting an attempt",
    "stale": "Verdicts that came after the lease was lost",
    "dropped": "Messages dropped to make room",
}
"""The lifetime counters of ``QueueStats``."""


class QueueCollector(Collector):
    """Asks each queue for its stats when it is scraped; made by ``make_collector``."""

    def __init__(self, queues: Iterable[WithStats], timeout: float) -> None:
        self._queues = list(queues)
        names = [queue.name for queue in self._queues]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise ConfigError(
                f"two queues are named {min(doubled)!r}: their series could not be told apart; "
                "give each Redis a registry of its own"
            )
        self._poller = Poller(timeout=timeout, max_age=min(1.0, timeout))

    def describe(self) -> Iterator[Metric]:
        """The metrics without their values: registering asks nothing of Redis."""
        yield from self._metrics([])

    def collect(self) -> Iterator[Metric]:
        """The metrics; a queue that does not answer in time has only ``typed_rmq_up 0``."""
        yield from self._metrics(self._poller.poll(self._queues))

    def _metrics(self, found: list[tuple[str, QueueStats | None]]) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "typed_rmq_up", "Whether the queue's Redis answered in time", labels=["queue"]
        )
        messages = GaugeMetricFamily(
            "typed_rmq_messages", "Messages in the queue, by state", labels=["queue", "state"]
        )
        oldest = GaugeMetricFamily(
            "typed_rmq_oldest_age_seconds",
            "Time since the oldest ready message was published",
            labels=["queue"],
        )
        consumers = GaugeMetricFamily(
            "typed_rmq_consumers", "Consumers with a live lease", labels=["queue"]
        )
        paused = GaugeMetricFamily(
            "typed_rmq_paused", "Whether the queue is paused", labels=["queue"]
        )
        counters = {
            name: CounterMetricFamily(f"typed_rmq_{name}", text, labels=["queue"])
            for name, text in COUNTERS.items()
        }
        for queue, stats in found:
            up.add_metric([queue], 0 if stats is None else 1)
            if stats is None:
                continue
            for state in STATES:
                messages.add_metric([queue, state], float(getattr(stats, state)))
            oldest.add_metric([queue], stats.oldest_age)
            consumers.add_metric([queue], stats.consumers)
            paused.add_metric([queue], stats.paused)
            for name, counter in counters.items():
                counter.add_metric([queue], getattr(stats, name))
        yield from (up, messages, oldest, consumers, paused, *counters.values())


def make_collector(queues: Iterable[WithStats], *, timeout: Duration = 2.0) -> QueueCollector:
    """A collector to register: it reports the stats of these queues at every scrape.

    A scrape takes at most ``timeout`` seconds, also where Redis is down: who has not answered by
    then is reported by ``typed_rmq_up 0`` alone.

    Raises:
        ConfigError: two of the queues have the same name.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> from typed_rmq import Queue
        >>> from typed_rmq.prometheus import make_collector
        >>> orders = Queue[int]("doc-scraped")
        >>> _ = orders.publish_many([1, 2, 3])
        >>> registry = CollectorRegistry()
        >>> registry.register(make_collector([orders]))
        >>> labels = {"queue": "doc-scraped", "state": "ready"}
        >>> registry.get_sample_value("typed_rmq_messages", labels)
        3.0
    """
    return QueueCollector(queues, seconds(timeout, "timeout"))
