"""What a consumer is asked to do, and what it can decide to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .commands import Verdict, Way

__all__ = ["Cycle", "Drain", "Plan", "Reap", "Step", "Stop", "Wait"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a loop consumes; durations in seconds, a limit of ``None`` is none."""

    queue: str
    lease: float
    prefetch: int | Literal["auto"] = "auto"
    ack_linger: float = 0.005
    until_empty: bool = False
    idle_timeout: float | None = None
    max_messages: int | None = None
    keep_done: int = 0
    handler_timeout: float | None = None

    @property
    def grace(self) -> float:
        """Between seeing a session expired and reaping it."""
        return min(1.0, self.lease / 20)

    @property
    def lease_in_redis(self) -> float:
        """Shorter than promised, so that a crash is recovered from within the lease."""
        return self.lease - 2 * self.grace


@dataclass(frozen=True, slots=True)
class Cycle:
    """Send this call and pass its reply to ``on_reply``."""

    n: int
    session: bytes
    want: int
    held: int
    acks: tuple[bytes, ...]
    verdicts: tuple[Verdict, ...]
    closing: bool = False
    way: Way = "long"


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for the bell, ``seconds`` at most; then send ``then`` in the same breath, if given.

    ``then`` is given where nothing is held: no verdict can come up meanwhile, so the lane is free
    to hold a call that Redis answers as soon as the bell rings.
    """

    seconds: float
    then: Cycle | None


@dataclass(frozen=True, slots=True)
class Drain:
    """Wait, without Redis, until a message in hand is settled: a suspect must be alone."""


@dataclass(frozen=True, slots=True)
class Reap:
    """Give back what this crashed session held."""

    session: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """There is nothing more to hand out."""


Step = Cycle | Wait | Drain | Reap | Stop
