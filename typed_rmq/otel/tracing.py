"""Spans for publish, claim, process, and settle."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, cast

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer

from ..events import (
    Claimed,
    Handled,
    Handling,
    Observer,
    PublishEnded,
    Publishing,
    Settlement,
)
from .names import (
    ATTEMPT,
    DUPLICATE,
    ERROR_TYPE,
    LEASE_LOST,
    MESSAGE_COUNT,
    MESSAGE_ID,
    OUTCOME,
    AttributeValue,
    by_operation,
    error_type,
)

__all__ = ["Tracing"]

HANDLING: Final = context.create_key("typed_rmq-handling")
"""In the context of a message that is handled: who set it, and the context around it."""


class Tracing(Observer):
    """Traces one queue.

    Args:
        tracer: makes the spans.
        queue: the queue's name.
        attributes: on every span.
        join: whether handling goes on in the trace of the publish, where it is in no other.
    """

    def __init__(
        self, tracer: Tracer, queue: str, attributes: dict[str, AttributeValue], *, join: bool
    ) -> None:
        self._tracer = tracer
        self._queue = queue
        self._join = join
        self._attributes = by_operation(queue, attributes)

    # --- publish

    def publishing(self, event: Publishing) -> Callable[[PublishEnded], object]:
        """A span around the publish; its context goes with the messages."""
        given = _origin(event.headers)
        outer = context.get_current()
        span = self._span(
            "publish",
            # Whoever brings a context of his own keeps it: then this span is not the origin.
            SpanKind.CLIENT if given else SpanKind.PRODUCER,
            links=[Link(given)] if given else [],
        )
        inner = trace.set_span_in_context(span, outer)
        if given is None:
            propagate.inject(event.headers, context=inner)
        context.attach(inner)

        def end(ended: PublishEnded) -> None:
            _restore(inner, outer)
            if event.many:
                span.set_attribute(MESSAGE_COUNT, len(ended.receipts))
            else:
                for receipt in ended.receipts:
                    span.set_attribute(MESSAGE_ID, receipt.id)
                    span.set_attribute(DUPLICATE, receipt.duplicate)
            if ended.error is not None:
                _failed(span, error_type(ended.error), ended.error)
            span.end()

        return end

    # --- process

    def handling(self, event: Handling) -> Callable[[Handled], object]:
        """A span from here to where the message is left, current in the code that handles it."""
        delivery = event.delivery
        outer = self._outside(context.get_current())
        origin = _origin(delivery.headers)
        around = trace.get_current_span(outer).get_span_context()
        parent = outer
        if self._join and origin is not None and not around.is_valid:
            parent = propagate.extract(delivery.headers, context=outer)
        span = self._span(
            "process",
            SpanKind.CONSUMER,
            parent=parent,
            links=[Link(origin)] if origin else [],
            more={MESSAGE_ID: delivery.id, ATTEMPT: delivery.attempt},
        )
        inner = trace.set_span_in_context(span, context.set_value(HANDLING, (self, outer), parent))
        context.attach(inner)

        def end(handled: Handled) -> None:
            _restore(inner, outer)
            if handled.outcome is not None:
                span.set_attribute(OUTCOME, handled.outcome)
            kind = failure(handled)
            if kind is not None:
                _failed(span, kind, handled.error)
            span.end()

        return end

    def _outside(self, current: Context) -> Context:
        """The context without a message of this queue that is, or was, being handled in it."""
        while True:
            found = context.get_value(HANDLING, current)
            if found is None:
                return current
            owner, outer = cast("tuple[Tracing, Context]", found)
            if owner is not self:
                return current
            current = outer

    # --- claim and settle, told when they are over

    def claimed(self, event: Claimed) -> None:
        """A span over the time that the call took, with a link for each message."""
        links: list[Link] = []
        for delivery in event.deliveries:
            origin = _origin(delivery.headers)
            if origin is not None:
                links.append(Link(origin, {MESSAGE_ID: delivery.id}))
        more: dict[str, AttributeValue] = {MESSAGE_COUNT: len(event.message_ids)}
        self._past("claim", event.seconds, more, links)

    def settlement(self, event: Settlement) -> None:
        """A span over the time that the call took."""
        ids = [message_id for message_id, _ in event.outcomes] + list(event.stale)
        more: dict[str, AttributeValue] = {MESSAGE_COUNT: len(ids)}
        if len(ids) == 1:
            more = {MESSAGE_ID: ids[0]}
        self._past("settle", event.seconds, more, [], LEASE_LOST if event.stale else None)

    def _past(
        self,
        operation: str,
        seconds: float,
        more: dict[str, AttributeValue],
        links: list[Link],
        error: str | None = None,
    ) -> None:
        ended = time.time_ns()
        span = self._span(
            operation,
            SpanKind.CLIENT,
            parent=self._outside(context.get_current()),
            links=links,
            more=more,
            start=ended - round(seconds * 1e9),
        )
        if error is not None:
            _failed(span, error, None)
        span.end(ended)

    def _span(
        self,
        operation: str,
        kind: SpanKind,
        *,
        parent: Context | None = None,
        links: list[Link],
        more: dict[str, AttributeValue] | None = None,
        start: int | None = None,
    ) -> Span:
        return self._tracer.start_span(
            f"{operation} {self._queue}",
            context=parent,
            kind=kind,
            attributes={**self._attributes[operation], **(more or {})},
            links=links,
            start_time=start,
        )


def failure(handled: Handled) -> str | None:
    """The ``error.type`` of a message's handling; ``None`` where it went well, or was given up."""
    if handled.outcome is None:
        return LEASE_LOST
    if handled.outcome == "released":
        return None
    if handled.error is not None:
        return error_type(handled.error)
    return None if handled.outcome == "done" else handled.outcome


def _origin(headers: dict[str, str]) -> SpanContext | None:
    """The context that a message was made in, if its headers say one."""
    if not headers:
        return None
    found = propagate.extract(headers, context=Context())
    origin = trace.get_current_span(found).get_span_context()
    return origin if origin.is_valid else None


def _restore(inner: Context, outer: Context) -> None:
    """Leave a context, if this is where it was entered and nobody else has changed it since."""
    if context.get_current() is inner:
        context.attach(outer)


def _failed(span: Span, kind: str, error: BaseException | None) -> None:
    span.set_attribute(ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR, None if error is None else type(error).__name__))
    if error is not None:
        span.record_exception(error)
