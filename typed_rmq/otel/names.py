"""Names of OpenTelemetry's semantic conventions for messaging, and ours beside them.

They are written out here, as the conventions for messaging are still in development: the package
that has them as constants changes its names with them. What the conventions do not know is under
``messaging.typed_rmq``, as they ask for.
"""

from __future__ import annotations

from typing import Final

SYSTEM: Final = "messaging.system"
DESTINATION: Final = "messaging.destination.name"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGE_ID: Final = "messaging.message.id"
MESSAGE_COUNT: Final = "messaging.batch.message_count"
ERROR_TYPE: Final = "error.type"

ATTEMPT: Final = "messaging.typed_rmq.attempt"
DUPLICATE: Final = "messaging.typed_rmq.duplicate"
OUTCOME: Final = "messaging.typed_rmq.outcome"
STATE: Final = "messaging.typed_rmq.state"

TYPES: Final = {
    "publish": "send",
    "claim": "receive",
    "process": "process",
    "settle": "settle",
}
"""Our operations -> the types that the conventions know."""

LEASE_LOST: Final = "LeaseLost"
"""The ``error.type`` of a verdict that came too late."""

AttributeValue = str | bool | int | float


def common(
    queue: str, operation: str, more: dict[str, AttributeValue]
) -> dict[str, AttributeValue]:
    """The attributes that all spans and metrics of an operation share."""
    return {
        SYSTEM: "typed_rmq",
        DESTINATION: queue,
        OPERATION: operation,
        OPERATION_TYPE: TYPES[operation],
        **more,
    }


def by_operation(
    queue: str, more: dict[str, AttributeValue]
) -> dict[str, dict[str, AttributeValue]]:
    """The attributes of each operation of a queue."""
    return {operation: common(queue, operation, more) for operation in TYPES}


def with_error(
    attributes: dict[str, AttributeValue], kind: str | None
) -> dict[str, AttributeValue]:
    """The attributes, and what went wrong where something did."""
    return attributes if kind is None else {**attributes, ERROR_TYPE: kind}


def error_type(error: BaseException) -> str:
    """The exception's class, by its full name."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
