"""Who takes part in an exchange, and what may not happen to them."""

from __future__ import annotations

from typing import Any, NamedTuple

from .redis_side import Cycle, Envelopes, Field, Redis

Op = tuple[str, ...]

ONCE = "publish is exactly once: what was confirmed is stored once, what was refused is not"
CONFIRMED = "after a confirmed ack a message is never delivered again, nor settled once more"
IN_TIME = "the verdict of a consumer that kept its lease counts"
ONE_HOLDER = "no two live consumers hold the same delivery"
FULL = "a full Redis takes nothing new, and goes on with what it has"
PURGED = "no loss: what is confirmed after a purge is not purged by it"
NAMED = "a receipt names the message that was stored"
LOSS_TOLD = "lost operations are told to the client that did them"


class Caller(NamedTuple):
    lane: str
    n: int = 0
    at: int = 0
    gave_up: int = 0
    open: Op | None = None


class Consumer(NamedTuple):
    slot: str
    born: int = 0
    session: str | None = None
    n: int = 0
    open: Cycle | None = None
    view: Envelopes = ()
    acks: tuple[Field, ...] = ()
    verdicts: tuple[tuple[str, Field, int], ...] = ()
    alive: bool = True
    leaving: bool = False
    lapsed: bool = False
    """Its lease was not kept, or Redis was rolled back: what it decides may come too late."""

    @property
    def name(self) -> str:
        return self.session or f"{self.slot}{self.born}"

    @property
    def pending(self) -> int:
        return len(self.acks) + len(self.verdicts)


class State(NamedTuple):
    redis: Redis
    callers: tuple[Caller, ...]
    consumers: tuple[Consumer, ...]
    left: tuple[int, ...]
    late: tuple[tuple[Any, ...], ...] = ()
    snapshot: Redis | None = None
    full: bool = False
    rolled: bool = False
    copied: bool = False
    told: tuple[tuple[str, str], ...] = ()
    confirmed: tuple[str, ...] = ()
    wrong: str = ""


DECISIONS = {"a": "done", "r0": "again at once", "r1": "again later", "d": "dead", "R": "release"}
