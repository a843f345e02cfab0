"""A real OpenTelemetry SDK that keeps what it was given, and the modes of the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.conformance import conftest
from tests.conformance.harness import Mode, Rmq
from typed_rmq.otel import instrument

keys = conftest.keys
mode = conftest.mode


class Sdk:
    """The SDK, and what came out of it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("test")

    def open(
        self, where: Mode, *, instrumented: dict[str, Any] | None = None, **options: Any
    ) -> Rmq:
        """An instrumented queue."""
        rmq = where.open(**options)
        instrument(
            rmq.queue,
            tracer_provider=self.tracers,
            meter_provider=self.meters,
            **(instrumented or {}),
        )
        return rmq

    def spans(self, operation: str = "") -> list[ReadableSpan]:
        """The finished spans of an operation, in the order of their ends."""
        return [
            span for span in self.exporter.get_finished_spans() if span.name.startswith(operation)
        ]

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """Metric -> (attributes, value or data point of a histogram)."""
        found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        value = getattr(point, "value", point)
                        found.setdefault(metric.name, []).append((dict(point.attributes), value))
        return found


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    made = Sdk()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()
