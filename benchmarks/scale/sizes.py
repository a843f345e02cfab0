"""How much is put in, and how long it is measured."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """One size of the whole run.

    Attributes:
        ready, delayed, dead: messages of the large queue.
        queues: how many queues idle.
        crowds: how many consumers one queue has, in turn.
        rounds, seconds: of the slices on the large and on empty queues.
        quiet: seconds for which idle queues are watched.
        burst: messages without work that each crowd gets at once.
        singles: messages that each crowd gets one at a time.
        each: messages with work for each consumer of a crowd.
        work: seconds that such a message takes its consumer.
    """

    ready: int
    delayed: int
    dead: int
    queues: int
    crowds: tuple[int, ...]
    rounds: int
    seconds: float
    quiet: float
    burst: int
    singles: int
    each: int
    work: float


FULL = Sizes(
    ready=10_000_000,
    delayed=1_000_000,
    dead=1_000_000,
    queues=10_000,
    crowds=(1, 8, 200),
    rounds=7,
    seconds=0.4,
    quiet=15.0,
    burst=100_000,
    singles=400,
    each=20,
    work=0.1,
)

QUICK = Sizes(
    ready=10_000,
    delayed=1_000,
    dead=1_000,
    queues=20,
    crowds=(1, 4),
    rounds=1,
    seconds=0.01,
    quiet=0.2,
    burst=500,
    singles=8,
    each=3,
    work=0.02,
)
