"""How often a failed message is tried again, and after how long.

The delay before attempt ``n + 1`` grows as ``backoff * factor ** (n - 1)`` up to
``max_backoff``. Full jitter draws it evenly from zero to that value, so that messages which
failed together do not come back together (M. Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from .errors import ConfigError

__all__ = ["Duration", "Retry", "seconds"]

Duration = float | timedelta
"""A length of time: seconds, or a ``timedelta``."""

MAX_ATTEMPTS = 9_999
"""The envelope's head has four digits for the attempt."""


def seconds(value: Duration, what: str) -> float:
    """A duration in seconds; negative, infinite, or not-a-number raises ``ConfigError``.

    Example:
        >>> seconds(timedelta(minutes=2), "lease")
        120.0
    """
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise ConfigError(f"{what} must be seconds or a timedelta, got {value!r:.50}")
    if not 0.0 <= number < 10_000_000_000:
        raise ConfigError(f"{what} must be a duration of zero seconds or more, got {number!r}")
    return number


@dataclass(frozen=True, slots=True)
class Retry:
    """The retry policy of a queue.

    Args:
        max_attempts: deliveries of one message before it becomes a dead letter, 1 to 9,999.
        backoff: seconds before the second attempt.
        factor: what the delay is multiplied with after each further attempt.
        max_backoff: the longest delay, in seconds.
        jitter: ``"full"`` draws the delay from zero to its full value, ``"none"`` keeps it.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> policy = Retry(backoff=2.0, factor=3.0, max_backoff=10.0, jitter="none")
        >>> [policy.delay(attempt) for attempt in (1, 2, 3)]
        [2.0, 6.0, 10.0]
    """

    max_attempts: int = 5
    backoff: Duration = 1.0
    factor: float = 2.0
    max_backoff: Duration = 600.0
    jitter: Literal["full", "none"] = "full"

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise ConfigError(f"max_attempts must be 1 to {MAX_ATTEMPTS}, got {self.max_attempts}")
        seconds(self.backoff, "backoff")
        seconds(self.max_backoff, "max_backoff")
        if not 1.0 <= self.factor <= 1_000_000:
            raise ConfigError(f"factor must be 1.0 or more, got {self.factor!r}")
        if self.jitter not in ("full", "none"):
            raise ConfigError(f"jitter must be 'full' or 'none', got {self.jitter!r}")

    def exhausted(self, attempt: int) -> bool:
        """Whether ``attempt`` (1 for the first delivery) was the last one."""
        return attempt >= self.max_attempts

    def delay(self, attempt: int, rng: random.Random | None = None) -> float:
        """Seconds to wait after ``attempt`` failed (1 for the first delivery)."""
        base = seconds(self.backoff, "backoff")
        ceiling = seconds(self.max_backoff, "max_backoff")
        # By logarithms first: a large attempt would overflow a float.
        if base and (attempt - 1) * math.log(self.factor) > math.log(max(ceiling, base) / base):
            full = ceiling
        else:
            full = min(ceiling, base * self.factor ** (attempt - 1))
        if self.jitter == "none":
            return full
        draw = random.random() if rng is None else rng.random()
        return full * draw
