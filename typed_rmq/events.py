"""What a queue reports while it works.

An observer is told of each event after Redis has confirmed it. All methods do nothing unless a
subclass says otherwise, so that an observer names only what it cares for. They are called in the
thread or task at work and must return soon; one that raises is logged and never disturbs the
queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

__all__ = [
    "Claimed",
    "DataLoss",
    "Dead",
    "Dropped",
    "Duplicate",
    "LeaseExpired",
    "Observer",
    "Observers",
    "Published",
    "Reaped",
    "RedriveConflict",
    "Retried",
    "Settled",
    "Stale",
    "Unavailable",
]

logger: Final = logging.getLogger("typed_rmq")

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Published:
    """Messages were stored."""

    queue: str
    message_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A publish was answered with the id of an earlier message.

    ``conflict`` is set where the two have the same key and different content.
    """

    queue: str
    message_id: str
    conflict: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """Messages were dropped to make room (``overflow="drop_oldest"``)."""

    queue: str
    message_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A consumer took messages."""

    queue: str
    message_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """A verdict took effect."""

    queue: str
    message_id: str
    outcome: Literal["done", "retried", "released", "dead"]


@dataclass(frozen=True, slots=True)
class Retried:
    """An attempt failed and the message is tried again after ``delay`` seconds."""

    queue: str
    message_id: str
    delay: float


@dataclass(frozen=True, slots=True)
class Dead:
    """A message became a dead letter."""

    queue: str
    message_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """A consumer lost its lease: what it held belongs to others now."""

    queue: str
    message_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stale:
    """A verdict came after its lease was lost, and had no effect."""

    queue: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Reaped:
    """The messages of a crashed consumer were given back, or buried at their last attempt."""

    queue: str
    consumer: str
    returned: tuple[str, ...]
    buried: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Redis did not answer and is tried again; ``reason`` is its own word or the network's."""

    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class DataLoss:
    """Redis has forgotten ``lost`` operations of this client that it had confirmed."""

    queue: str
    lost: int


@dataclass(frozen=True, slots=True)
class RedriveConflict:
    """A dead letter stayed where it is: another message, ``holder``, holds its dedup key."""

    queue: str
    message_id: str
    holder: str


class Observer:
    """Is told what happens in a queue; subclass it and override what you need.

    Example:
        >>> class Counter(Observer):
        ...     dead_letters = 0
        ...     def dead(self, event: Dead) -> None:
        ...         self.dead_letters += 1
        >>> counter = Counter()
        >>> counter.dead(Dead("orders", "id", "no such customer"))
        >>> counter.dead_letters
        1
    """

    def published(self, event: Published) -> None:
        """Messages were stored."""

    def duplicate(self, event: Duplicate) -> None:
        """A publish was answered with the id of an earlier message."""

    def dropped(self, event: Dropped) -> None:
        """Messages were dropped to make room."""

    def claimed(self, event: Claimed) -> None:
        """A consumer took messages."""

    def settled(self, event: Settled) -> None:
        """A verdict took effect."""

    def retried(self, event: Retried) -> None:
        """An attempt failed and the message will be tried again."""

    def dead(self, event: Dead) -> None:
        """A message became a dead letter."""

    def lease_lost(self, event: LeaseExpired) -> None:
        """A consumer lost its lease."""

    def stale(self, event: Stale) -> None:
        """A verdict came too late and had no effect."""

    def reaped(self, event: Reaped) -> None:
        """The messages of a crashed consumer were given back."""

    def unavailable(self, event: Unavailable) -> None:
        """Redis did not answer and is tried again."""

    def data_loss(self, event: DataLoss) -> None:
        """Redis has forgotten operations that it had confirmed."""

    def redrive_conflict(self, event: RedriveConflict) -> None:
        """A dead letter was not redriven."""


class Observers:
    """A queue's observers, told one after the other."""

    __slots__ = ("_observers",)

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, method: Callable[[Observer, E], None], event: E) -> None:
        """``tell(Observer.dead, event)`` calls each observer's own ``dead``."""
        for observer in self._observers:
            try:
                getattr(observer, method.__name__)(event)
            except Exception:
                logger.exception("an observer's %s() failed; the queue goes on", method.__name__)
