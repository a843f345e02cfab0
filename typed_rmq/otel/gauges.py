"""Metrics of how queues stand, asked for when metrics are collected."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from ..polling import Poller, WithStats
from ..results import QueueStats
from .names import DESTINATION, STATE, SYSTEM, AttributeValue

__all__ = ["Gauges"]

Values = list[tuple[float, dict[str, AttributeValue]]]


def _messages(stats: QueueStats) -> Values:
    return [
        (stats.ready, {STATE: "ready"}),
        (stats.delayed, {STATE: "delayed"}),
        (stats.in_flight, {STATE: "in_flight"}),
        (stats.dead, {STATE: "dead"}),
    ]


def _lag(stats: QueueStats) -> Values:
    return [(stats.ready + stats.in_flight, {})]


def _oldest_age(stats: QueueStats) -> Values:
    return [(stats.oldest_age, {})]


def _consumers(stats: QueueStats) -> Values:
    return [(stats.consumers, {})]


GAUGES: Final[tuple[tuple[str, str, str, Callable[[QueueStats], Values]], ...]] = (
    ("messages", "{message}", "Messages in the queue, by state", _messages),
    ("lag", "{message}", "Messages that consumers are behind: ready or in flight", _lag),
    ("oldest_age", "s", "Time since the oldest ready message was published", _oldest_age),
    ("consumers", "{consumer}", "Consumers with a live lease", _consumers),
)


class Gauges:
    """The gauges of one meter; it holds the queues weakly."""

    def __init__(self, meter: Meter) -> None:
        self._queues: weakref.WeakKeyDictionary[WithStats, dict[str, AttributeValue]] = (
            weakref.WeakKeyDictionary()
        )
        # All gauges of one collection are of one round.
        self._poller = Poller(timeout=2.0, max_age=1.0)
        for name, unit, description, read in GAUGES:
            meter.create_observable_gauge(
                f"messaging.typed_rmq.queue.{name}",
                callbacks=[self._callback(read)],
                unit=unit,
                description=description,
            )

    def add(self, queue: WithStats, attributes: dict[str, AttributeValue]) -> None:
        """Report this queue, too, for as long as it lives."""
        self._queues[queue] = {SYSTEM: "typed_rmq", DESTINATION: queue.name, **attributes}

    def _callback(
        self, read: Callable[[QueueStats], Values]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> list[Observation]:
            queues = dict(self._queues)
            found = self._poller.poll(list(queues))
            return [
                Observation(value, {**attributes, **more})
                for attributes, (_, stats) in zip(queues.values(), found, strict=True)
                if stats is not None
                for value, more in read(stats)
            ]

        return observe
