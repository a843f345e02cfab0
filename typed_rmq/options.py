"""Checking how a consumer wants to consume."""

from __future__ import annotations

from typing import Final, Literal

from .errors import ConfigError
from .prefetch import MAX_BATCH
from .retry import Duration, seconds
from .steps import Plan

__all__ = ["MIN_LEASE", "check_count", "check_lease", "plan_of"]

MIN_LEASE: Final = 0.1
MAX_LEASE: Final = 7 * 24 * 3600.0


def check_lease(lease: Duration, queue: str) -> float:
    """The lease in seconds; ``ConfigError`` where nobody could keep it."""
    value = seconds(lease, "lease")
    if not MIN_LEASE <= value <= MAX_LEASE:
        raise ConfigError(f"lease must be 0.1 s to 7 days, got {value!r} s", queue=queue)
    return value


def check_count(value: int, what: str, queue: str) -> int:
    """A number of messages, zero or more."""
    if not _whole(value) or not 0 <= value <= 1_000_000_000:
        raise ConfigError(f"{what} must be zero or more messages, got {value!r}", queue=queue)
    return value


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def plan_of(
    queue: str,
    lease: float,
    keep_done: int,
    *,
    prefetch: int | Literal["auto"] = "auto",
    ack_linger: Duration = 0.005,
    until_empty: bool = False,
    idle_timeout: Duration | None = None,
    max_messages: int | None = None,
    handler_timeout: Duration | None = None,
) -> Plan:
    """The options of ``consume`` and ``run``, checked."""
    if prefetch != "auto" and not (_whole(prefetch) and 1 <= prefetch <= MAX_BATCH):
        raise ConfigError(
            f"prefetch must be 'auto' or 1 to {MAX_BATCH}, got {prefetch!r}", queue=queue
        )
    if max_messages is not None and not (_whole(max_messages) and max_messages >= 1):
        raise ConfigError(f"max_messages must be 1 or more, got {max_messages!r}", queue=queue)
    limit = None if handler_timeout is None else seconds(handler_timeout, "handler_timeout")
    if limit == 0:
        raise ConfigError("handler_timeout must be more than 0 s; None is no limit", queue=queue)
    return Plan(
        queue=queue,
        lease=lease,
        prefetch=prefetch,
        ack_linger=seconds(ack_linger, "ack_linger"),
        until_empty=until_empty,
        idle_timeout=None if idle_timeout is None else seconds(idle_timeout, "idle_timeout"),
        max_messages=max_messages,
        keep_done=keep_done,
        handler_timeout=limit,
    )
