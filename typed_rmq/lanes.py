"""A producer's lanes, and how their calls tell that Redis has lost data.

A lane is a producer's numbered sequence of calls, one in flight at a time; it also names the
messages made in it, so that ids cost no randomness each.

Four signs tell of a loss, all of them in replies that come anyway:

* a gap in a lane's numbers: Redis knows the lane with an older number than it had confirmed,
* fewer messages ever published than a reply told before,
* another epoch: the queue was begun anew, whatever was published to it since,
* a lane that is not known, though Redis's clock says that it should be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from . import wire
from .commands import PublishReply
from .losses import LANE_SECONDS

TOUCH_EVERY: Final = 600.0
"""Seconds; a lane that is not used any more is remembered for an hour from its last touch."""

__all__ = ["Batch", "Lane", "Mark", "missing"]


@dataclass(slots=True)
class Lane:
    """One sequence of calls. Given up after a call without an answer: its numbers never return."""

    token: bytes = field(default_factory=wire.random_token)
    number: int = 0
    made: int = 0
    touched_at: float = 0.0
    fixed: dict[int, tuple[bytes, ...]] = field(default_factory=dict[int, tuple[bytes, ...]])
    """By priority: the keys that its calls have in common."""
    mark: Mark | None = None
    """What was known when Redis last spoke of this lane, with the two below."""
    known_until: int = 0
    """Seconds, by Redis's clock: until then it has no reason not to know the lane."""
    since: int = 0
    """The number of the call with which Redis came to know it."""

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def touches(self) -> bool:
        """Whether it is time that its key in Redis is given another hour."""
        now = monotonic()
        if now - self.touched_at < TOUCH_EVERY and self.touched_at:
            return False
        self.touched_at = now
        return True

    @property
    def worn(self) -> bool:
        """Out of ids: eight hexadecimal digits are used up."""
        return self.made > 0xFFFF_0000


@dataclass(slots=True)
class Batch:
    """Messages ready to be sent."""

    ids: list[bytes]
    envelopes: list[bytes]
    dedup_keys: list[bytes]
    mark: Mark
    floor: int
    lane: Lane


@dataclass(slots=True)
class Mark:
    """The highest number of messages ever published that a reply has told, and the epoch.

    The number never falls, so a call that is made after that reply must be told a higher one: else
    Redis has lost what it had confirmed. A mark is replaced after a loss, so that the calls that
    were under way then do not tell of it again.
    """

    highest: int = 0
    epoch: bytes = b""


def missing(mark: Mark, batch: Batch, reply: PublishReply) -> tuple[int, Mark]:
    """How many confirmed operations Redis has lost, at least, by a reply other than the usual.

    ``mark`` is the producer's; the one to go on with is returned.
    """
    lane, told, lost, total = batch.lane, reply.told, reply.lost, reply.published
    # Not where another call has told of the loss since this one was made.
    current = batch.mark is mark
    if current and total:
        new = len(batch.ids) - reply.answer.count("=") - reply.answer.count("!")
        lost = max(lost, batch.floor + new - total)
    if current and told is not None:
        if mark.epoch not in (b"", told.epoch):
            lost = max(lost, mark.highest, 1)
        elif told.n and lane.mark is mark and told.seconds < lane.known_until:
            lost = max(lost, told.n - lane.since)
    if lost:
        mark = Mark()
    if current or lost:
        mark.highest = max(mark.highest, total)
        if told is not None:
            mark.epoch = told.epoch
            lane.mark, lane.known_until = mark, told.seconds + LANE_SECONDS
            lane.since = told.n or lane.since
    return lost, mark
