"""Lost data: what Redis had confirmed, and has forgotten."""

from __future__ import annotations

from typing import Final, Literal

from .errors import DataLossDetected

OnDataLoss = Literal["event", "raise"]
"""What is done where operations are missing that Redis had confirmed."""

LANE_SECONDS: Final = 3600
"""How long Redis knows a lane from when it was last given another hour; see ``lane.lua``."""

NO_EPOCH: Final = b"-"
"""Of a queue that nothing was published to yet."""

__all__ = ["LANE_SECONDS", "NO_EPOCH", "OnDataLoss", "Past", "Witness", "loss_found"]


class Past:
    """The life of its queue that a queue object has consumed from: an epoch, once it was told."""

    def __init__(self) -> None:
        self._epoch = b""

    def ended(self, epoch: bytes) -> bool:
        """Whether this is another life than the one that was known; it is the known one then."""
        before, self._epoch = self._epoch, epoch
        return before not in (b"", NO_EPOCH, epoch)


class Witness:
    """What one loop makes of what Redis says to a session whose lane it does not know."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._began = -LANE_SECONDS

    def lost(self, epoch: bytes, seconds: int, n: int, *, gone: bool) -> int:
        """How many operations Redis has lost, at least.

        Args:
            epoch: which life of the queue it is.
            seconds: the time by Redis's clock: ours may have stood still while we slept.
            n: the number of the call.
            gone: whether the session is not there either.
        """
        if n == 1:
            self._began = seconds
        # To reap a session leaves its lane, which no time has ended in the session's first hour.
        forgotten = n > 1 and gone and seconds - self._began < LANE_SECONDS
        if self._past.ended(epoch) or forgotten:
            return max(1, n - 1)
        return 0


def loss_found(queue: str, lost: int, what_now: str) -> DataLossDetected:
    """The error that says so; ``what_now``, what became of the call or the messages at hand."""
    return DataLossDetected(
        f"queue {queue!r}: Redis has lost at least {lost} operations that it had confirmed, "
        f"as after a failover, a restart without an append-only file, or a restored backup. "
        f"{what_now}",
        queue=queue,
        lost=lost,
    )
