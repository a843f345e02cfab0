"""Lost data: what Redis had confirmed, and has forgotten."""

from __future__ import annotations

from typing import Literal

from .errors import DataLossDetected

OnDataLoss = Literal["event", "raise"]
"""What is done where operations are missing that Redis had confirmed."""

__all__ = ["OnDataLoss", "loss_found"]


def loss_found(queue: str, lost: int, what_now: str) -> DataLossDetected:
    """The error that says so; ``what_now``, what became of the call or the messages at hand."""
    return DataLossDetected(
        f"queue {queue!r}: Redis has lost at least {lost} operations that it had confirmed, "
        f"as after a failover, a restart without an append-only file, or a restored backup. "
        f"{what_now}",
        queue=queue,
        lost=lost,
    )
