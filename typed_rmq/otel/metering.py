"""Metrics of what this process does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Final

from opentelemetry.metrics import Counter, Histogram, Meter

from ..errors import ConfigError, PayloadError
from ..events import Claimed, Handled, Handling, Observer, PublishEnded, Publishing, Settlement
from .names import LEASE_LOST, OUTCOME, AttributeValue, by_operation, error_type, with_error
from .tracing import failure

__all__ = ["Instruments", "Metering"]

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds, as the conventions say."""

LATENCY_BUCKETS: Final = (*BUCKETS, 30, 60, 300, 900, 3600)
"""Seconds that a message waits, which may be long."""


class Instruments:
    """The instruments of one meter, made once."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, description: str, buckets: Sequence[float] = BUCKETS) -> Histogram:
            return meter.create_histogram(
                name, "s", description, explicit_bucket_boundaries_advisory=buckets
            )

        def messages(name: str, description: str) -> Counter:
            return meter.create_counter(name, "{message}", description)

        self.operation_duration: Histogram = seconds(
            "messaging.client.operation.duration", "Duration of a publish, a claim, or a settlement"
        )
        self.sent: Counter = messages(
            "messaging.client.sent.messages", "Messages that this process published"
        )
        self.consumed: Counter = messages(
            "messaging.client.consumed.messages", "Messages that this process was given"
        )
        self.process_duration: Histogram = seconds(
            "messaging.process.duration", "Duration of the handling of a message"
        )
        self.processed: Counter = messages(
            "messaging.typed_rmq.processed.messages",
            "Messages whose verdict Redis has confirmed, by outcome",
        )
        self.latency: Histogram = seconds(
            "messaging.typed_rmq.delivery.latency",
            "From the publish of a message to the beginning of its handling",
            LATENCY_BUCKETS,
        )


class Metering(Observer):
    """Counts and times what this process does with one queue."""

    def __init__(
        self, instruments: Instruments, queue: str, attributes: dict[str, AttributeValue]
    ) -> None:
        self._instruments = instruments
        self._attributes = by_operation(queue, attributes)

    def publishing(self, event: Publishing) -> Callable[[PublishEnded], object]:
        """Counts and times a publish."""
        began = perf_counter()

        def end(ended: PublishEnded) -> None:
            plain = self._attributes["publish"]
            error = ended.error
            failed = with_error(plain, None if error is None else error_type(error))
            self._instruments.operation_duration.record(perf_counter() - began, failed)
            if ended.receipts:
                self._instruments.sent.add(len(ended.receipts), plain)
            # Of the many of a failed call it is not known how many were under way.
            if not (error is None or event.many or isinstance(error, PayloadError | ConfigError)):
                self._instruments.sent.add(1, failed)

        return end

    def claimed(self, event: Claimed) -> None:
        """Counts and times a claim."""
        attributes = self._attributes["claim"]
        self._instruments.operation_duration.record(event.seconds, attributes)
        self._instruments.consumed.add(len(event.message_ids), attributes)

    def settlement(self, event: Settlement) -> None:
        """Counts and times a call with verdicts."""
        attributes = with_error(self._attributes["settle"], LEASE_LOST if event.stale else None)
        self._instruments.operation_duration.record(event.seconds, attributes)
        outcomes = [outcome for _, outcome in event.outcomes]
        for outcome in set(outcomes):
            self._instruments.processed.add(
                outcomes.count(outcome), {**self._attributes["process"], OUTCOME: outcome}
            )

    def handling(self, event: Handling) -> Callable[[Handled], object]:
        """Times the handling of a message, and how long the message was under way before."""
        began = perf_counter()
        plain = self._attributes["process"]
        if event.delivery.published_at is not None:
            waited = (datetime.now(UTC) - event.delivery.published_at).total_seconds()
            self._instruments.latency.record(max(0.0, waited), plain)

        def end(handled: Handled) -> None:
            attributes = with_error(plain, failure(handled))
            self._instruments.process_duration.record(perf_counter() - began, attributes)

        return end
