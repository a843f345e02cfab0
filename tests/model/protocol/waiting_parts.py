"""Who waits, for how long, and what may not happen to them."""

from __future__ import annotations

from typing import NamedTuple

from .cycle import SOON
from .redis_side import Envelopes, Field, Redis

LEASE = 3
BOUND = SOON
GRACE = 1
FOR_EVER = 99

BESIDE = "nobody sleeps beside work that it could take"
OVERDUE = "nobody sleeps beside what a crashed consumer held, once its lease and the grace are over"
SPINS = "nobody asks again at once where nothing can be claimed"
BASELINE = "an empty queue leaves no key behind"


class Consumer(NamedTuple):
    """``phase``: off, cycle, sleep (about to block), blocked, woken, hands (none are free), reap,
    closing, gone, dead."""

    phase: str = "off"
    timer: int = 0
    view: Envelopes = ()
    acks: tuple[Field, ...] = ()
    verdicts: tuple[tuple[str, Field, int], ...] = ()
    seen: tuple[tuple[str, int], ...] = ()
    reap: tuple[str, ...] = ()
    drain: bool = False

    @property
    def pending(self) -> int:
        return len(self.acks) + len(self.verdicts)

    @property
    def alive(self) -> bool:
        return self.phase not in ("off", "gone", "dead")


class State(NamedTuple):
    redis: Redis
    consumers: tuple[Consumer, ...]
    left: tuple[int, ...]
    order: tuple[int, ...] = ()
    """Who is blocked on the bell, the first one first."""
    beside: int = 0
    """For how many ticks work has been lying beside a sleeper."""
    overdue: int = 0
    token_lost: bool = False
    wrong: str = ""


URGENT = {"cycle", "woken", "sleep", "reap", "closing"}
