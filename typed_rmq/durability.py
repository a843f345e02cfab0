"""How safe a publish must be before it returns: on how many replicas, or on disk."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ConfigError
from .retry import Duration, seconds

__all__ = ["Durability", "Fsync", "Replicas", "check_durability"]


@dataclass(frozen=True, slots=True)
class Replicas:
    """A publish returns once so many replicas have it (``WAIT``), else ``DurabilityNotReached``.

    It makes a loss in a failover unlikely, not impossible: a replica without the message may be
    chosen as the new master all the same.

    Args:
        number: how many replicas, 1 or more.
        timeout: seconds to wait for them.

    Raises:
        ConfigError: the number is less than one, or the timeout is zero.

    Example:
        >>> Replicas(2, timeout=0.5)
        Replicas(number=2, timeout=0.5)
    """

    number: int = 1
    timeout: Duration = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.number, int) or self.number < 1:
            raise ConfigError(f"Replicas() takes a number of 1 or more, got {self.number!r:.50}")
        _check(self.timeout)


@dataclass(frozen=True, slots=True)
class Fsync:
    """A publish returns once Redis has written it to its disk (``WAITAOF``, Redis 7.2 or Valkey).

    With ``appendfsync always`` each publish is on disk when it returns, without this.

    Args:
        timeout: seconds to wait for the disk.

    Raises:
        ConfigError: the timeout is zero.

    Example:
        >>> Fsync()
        Fsync(timeout=5.0)
    """

    timeout: Duration = 5.0

    def __post_init__(self) -> None:
        _check(self.timeout)


Durability = Replicas | Fsync
"""What ``durability=`` takes."""


def _check(timeout: Duration) -> None:
    if seconds(timeout, "timeout") == 0:
        raise ConfigError("a timeout of durability must be more than 0 s")


def check_durability(durability: object, queue: str) -> None:
    """``ConfigError`` for anything else."""
    if durability is not None and not isinstance(durability, Replicas | Fsync):
        raise ConfigError(
            f"durability= takes Replicas(...), Fsync(), or None, got {durability!r:.50}",
            queue=queue,
        )
