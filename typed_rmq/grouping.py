"""Publishes that leave together: what threads and tasks that come at once make one call of.

A publish that finds nobody else at it goes at once, by itself. Those that come while a call is
under way wait for its reply, and leave then as one call: a *flight*. Each has packed its message
itself, and gets its own share of the reply. Only messages of one queue and one priority, ready at
once and in a queue without a bound, leave together; so a flight is one call of ``enqueue.lua``.

Waiting has a bound, so that a call that Redis does not answer holds nobody up: whoever was not
taken within ``PATIENCE`` goes by another lane.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

from .commands import Command, PublishReply
from .errors import QueueCorrupt
from .producer import Batch, Lane

__all__ = ["ALONE", "PATIENCE", "Alone", "Flight", "Outcome", "Parcel", "Seat", "shares"]

PATIENCE: Final = 0.25
"""Seconds for which a publish waits for the call before it."""

MOST: Final = 500
"""Messages in a flight: Redis serves others in between."""

MOST_BYTES: Final = 1_048_576
"""With so many bytes, a flight takes nobody else on."""


class Parcel(Protocol):
    """One message on its way: see ``storing.Store``."""

    def pack(self, lane: Lane, /) -> Batch: ...

    def command(self, lane: Lane, /) -> Command[PublishReply]: ...

    def joined(self, lane: Lane, batch: Batch, /) -> Command[PublishReply]: ...


class Alone:
    """In place of a flight or an outcome: the publish goes by itself."""


ALONE: Final = Alone()

Outcome = PublishReply | Exception | Alone


class Seat(Protocol):
    """One publish of a flight."""

    @property
    def parcel(self) -> Parcel: ...

    @property
    def batch(self) -> Batch: ...

    def land(self, outcome: Outcome, /) -> None:
        """Tell whoever waits."""
        ...


S = TypeVar("S", bound=Seat)


class Flight(Generic[S]):
    """Publishes that are one call. It is made once and sent unchanged, whoever sends it."""

    __slots__ = ("_command", "_size", "seats")

    def __init__(self) -> None:
        self.seats: list[S] = []
        self._size = 0
        self._command: Command[PublishReply] | None = None

    @property
    def has_room(self) -> bool:
        return len(self.seats) < MOST and self._size < MOST_BYTES

    def take_on(self, seat: S) -> None:
        self.seats.append(seat)
        self._size += len(seat.batch.envelopes[0])

    def command(self, lane: Lane) -> Command[PublishReply]:
        """The call; of the lane that it was first asked for."""
        command = self._command
        if command is None:
            batches = [seat.batch for seat in self.seats]
            for batch in batches:
                batch.lane = lane  # the reply speaks of this one
            together = Batch(
                [message_id for batch in batches for message_id in batch.ids],
                [envelope for batch in batches for envelope in batch.envelopes],
                [key for batch in batches for key in batch.dedup_keys],
                batches[0].mark,
                batches[0].floor,
                lane,
            )
            command = self._command = self.seats[0].parcel.joined(lane, together)
        return command

    def land(self, reply: PublishReply) -> None:
        """Give each its own share of the reply."""
        for seat, share in zip(self.seats, shares(reply, len(self.seats)), strict=True):
            seat.land(share)

    def fail(self, error: Exception) -> None:
        """Give each its own error.

        Where a key holds something foreign, nothing was stored, and it may be the dedup key of one
        of them: each tries alone. All other errors mean all of them, and where Redis did not
        answer, a second try would store twice.
        """
        if len(self.seats) == 1:
            self.seats[0].land(error)
            return
        for seat in self.seats:
            seat.land(ALONE if isinstance(error, QueueCorrupt) else copy.copy(error))


def shares(reply: PublishReply, n: int) -> Sequence[PublishReply]:
    """What each of ``n`` messages would have been told, had they come one after the other."""
    if reply.total:
        first = reply.total - n + 1
        return [PublishReply(reply.status, "", 0, first + index) for index in range(n)]
    answers = [""] * n
    for exception in reply.answer.split(",") if reply.answer else ():
        mark = "!" if "!" in exception else "="
        index, _, message_id = exception.partition(mark)
        answers[int(index)] = f"0{mark}{message_id}"
    totals, total = [0] * n, reply.published
    for last in range(n - 1, -1, -1):
        if total and not answers[last]:
            totals[last] = total
            total -= 1
    return [
        PublishReply(
            reply.status,
            answer,
            0 if index else reply.lost,
            published=totals[index],
            told=None if index else reply.told,
        )
        for index, answer in enumerate(answers)
    ]
