"""OpenTelemetry: traces and metrics of queues (extra ``otel``).

``instrument(queue)`` is all there is to call. What comes out follows OpenTelemetry's semantic
conventions for messaging; ``docs/observability.md`` lists it.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Final, Protocol

from ..errors import ConfigError
from ..events import Observer
from ..polling import WithStats

try:
    from opentelemetry import metrics, trace
except ImportError as _error:
    raise ConfigError(
        "typed_rmq.otel needs an optional library: pip install 'typed_rmq[otel]'"
    ) from _error

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from .gauges import Gauges
from .metering import Instruments, Metering
from .names import AttributeValue
from .tracing import Tracing

__all__ = ["instrument"]

SCOPE: Final = "typed_rmq"


class Observable(WithStats, Protocol):
    """A ``Queue`` of any type."""

    def observe(self, observer: Observer) -> None: ...


_instrumented: Final[weakref.WeakSet[Observable]] = weakref.WeakSet()
_meters: Final[weakref.WeakKeyDictionary[MeterProvider, tuple[Instruments, Gauges]]] = (
    weakref.WeakKeyDictionary()
)


def instrument(
    queue: Observable,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    join_traces: bool = True,
    gauges: bool = True,
) -> None:
    """Trace and measure what this process does with a queue, from now on.

    Loops that run already are not watched. Without an OpenTelemetry SDK it does nothing.

    Args:
        queue: a ``Queue``.
        tracer_provider: makes the tracer; the global one by default.
        meter_provider: makes the meter; the global one by default.
        attributes: on every span and metric, such as ``{"server.address": "redis-1"}``.
        join_traces: whether the handling of a message goes on in the trace of its publish, where
            the consumer is not in a trace already. Otherwise it is in a trace of its own. Either
            way it has a link to the publish.
        gauges: whether to report how the queue stands: its messages, lag, oldest age, and
            consumers. Every process that does reports the same.

    Raises:
        ConfigError: the queue is instrumented already.

    Example:
        >>> from typed_rmq import Queue
        >>> from typed_rmq.otel import instrument
        >>> orders = Queue[int]("doc-otel")
        >>> instrument(orders)
    """
    if queue in _instrumented:
        raise ConfigError(f"queue {queue.name!r} is instrumented already", queue=queue.name)
    _instrumented.add(queue)
    tracer = (tracer_provider or trace.get_tracer_provider()).get_tracer(SCOPE)
    provider = meter_provider or metrics.get_meter_provider()
    if provider not in _meters:
        meter = provider.get_meter(SCOPE)
        _meters[provider] = Instruments(meter), Gauges(meter)
    instruments, all_gauges = _meters[provider]
    shared = dict(attributes or {})
    queue.observe(Metering(instruments, queue.name, shared))
    queue.observe(Tracing(tracer, queue.name, shared, join=join_traces))
    if gauges:
        all_gauges.add(queue, shared)
