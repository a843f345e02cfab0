"""How many messages to fetch at once.

A batch should last about 50 ms: long enough that a fast handler never waits for the network,
short enough that a slow one does not keep messages from idle consumers.
"""

from __future__ import annotations

from typing import Final, Literal

from .errors import ConfigError

__all__ = ["MAX_BATCH", "Prefetch"]

MAX_BATCH: Final = 1_000
"""The most that one script call moves."""

TARGET: Final = 0.050
"""Seconds that a batch should take its handler."""


class Prefetch:
    """A fixed size, or one that doubles and halves with the time that batches take."""

    __slots__ = ("_adaptive", "size")

    def __init__(self, prefetch: int | Literal["auto"]) -> None:
        self._adaptive = prefetch == "auto"
        if prefetch == "auto":
            self.size: int = 1
        elif 1 <= prefetch <= MAX_BATCH:
            self.size = prefetch
        else:
            raise ConfigError(f"prefetch must be 'auto' or 1 to {MAX_BATCH}, got {prefetch!r}")

    def handled(self, seconds: float) -> None:
        """A batch was handled in this time."""
        if self._adaptive:
            if seconds < TARGET:
                self.size = min(self.size * 2, MAX_BATCH)
            else:
                self.size = max(self.size // 2, 1)

    def stuck(self) -> None:
        """A batch waited too long behind one of its messages."""
        if self._adaptive:
            self.size = 1
