"""What a queue reports while it works.

An observer is told of each event after Redis has confirmed it. All methods do nothing unless a
subclass says otherwise, so that an observer names only what it cares for. They are called in the
thread or task at work and must return soon; one that raises is logged and never disturbs the
queue.

Two methods, ``publishing`` and ``handling``, are called when something begins; what they return
is called when it has ended. They are for measuring and tracing, and cost nothing where no observer
overrides them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from .message import Delivery
from .results import Receipt

__all__ = [
    "Claimed",
    "DataLoss",
    "Dead",
    "Delivery",
    "Dropped",
    "Duplicate",
    "Handled",
    "Handling",
    "LeaseExpired",
    "Observer",
    "Observers",
    "Outcome",
    "PublishEnded",
    "Published",
    "Publishing",
    "Reaped",
    "RedriveConflict",
    "Retried",
    "Settled",
    "Settlement",
    "Stale",
    "Unavailable",
]

logger: Final = logging.getLogger("typed_rmq")

FAILED: Final = "an observer's %s() failed; the queue goes on"

E = TypeVar("E")
R = TypeVar("R")

Outcome = Literal["done", "retried", "released", "dead"]
"""What a verdict does: completes, tries again later, gives back uncounted, or gives up."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """A publish begins: one message, or the many of one ``publish_many``.

    What an observer adds to ``headers`` is sent with each of the messages.
    """

    queue: str
    many: bool
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class PublishEnded:
    """A publish has ended: what was stored, and the error that it raises, if it raises one."""

    receipts: tuple[Receipt, ...]
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class Handling:
    """A message is in the hands of the code that handles it."""

    queue: str
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Handled:
    """That code has left the message.

    ``outcome`` is ``None`` where the lease was lost before a verdict; ``error`` is the exception
    that left its block, where one was seen.
    """

    outcome: Outcome | None
    error: BaseException | None


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
    """A consumer took messages.

    ``seconds`` is how long it asked for them, the waiting for a message included.
    """

    queue: str
    message_ids: tuple[str, ...]
    deliveries: tuple[Delivery, ...] = field(default=(), repr=False, compare=False)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Settled:
    """A verdict took effect."""

    queue: str
    message_id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Settlement:
    """A call that carried verdicts was answered, ``seconds`` after it was made.

    ``stale`` are the messages whose lease was lost before, so that their verdicts had no effect.
    """

    queue: str
    outcomes: tuple[tuple[str, Outcome], ...]
    stale: tuple[str, ...]
    seconds: float


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

    def publishing(self, event: Publishing) -> Callable[[PublishEnded], object] | None:
        """A publish begins; what is returned is called when it has ended.

        Both are called in the thread or task that publishes.
        """

    def handling(self, event: Handling) -> Callable[[Handled], object] | None:
        """A message is handled from here on; what is returned is called when that has ended.

        It begins where a loop or a worker hands a message out, or where ``with msg`` is entered
        for one that ``receive`` returned, in the same thread or task. It ends where ``with msg``
        is left, or where a bare loop goes on or is left.
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

    def settlement(self, event: Settlement) -> None:
        """A call that carried verdicts was answered; ``settled`` and ``stale`` tell of each."""

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


Ended = Callable[[R], object] | None
"""What an observer wants to be called at the end."""


class Observers:
    """A queue's observers, told one after the other.

    Attributes:
        on_publishing: the ``publishing`` methods that are more than the default.
        on_handling: the same for ``handling``.
    """

    __slots__ = ("_observers", "on_handling", "on_publishing")

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers: tuple[Observer, ...] = ()
        self.on_publishing: tuple[Callable[[Publishing], Ended[PublishEnded]], ...] = ()
        self.on_handling: tuple[Callable[[Handling], Ended[Handled]], ...] = ()
        for observer in observers:
            self.add(observer)

    def add(self, observer: Observer) -> None:
        """From now on this one, too."""
        self._observers = (*self._observers, observer)
        kind = type(observer)
        if kind.publishing is not Observer.publishing:
            self.on_publishing = (*self.on_publishing, observer.publishing)
        if kind.handling is not Observer.handling:
            self.on_handling = (*self.on_handling, observer.handling)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, method: Callable[[Observer, E], None], event: E) -> None:
        """``tell(Observer.dead, event)`` calls each observer's own ``dead``."""
        for observer in self._observers:
            try:
                getattr(observer, method.__name__)(event)
            except Exception:
                logger.exception(FAILED, method.__name__)


def begin(hooks: Sequence[Callable[[E], Ended[R]]], event: E) -> Callable[[R], None]:
    """Tell that something begins; what is returned tells that it has ended."""
    ends: list[tuple[str, Callable[[R], object]]] = []
    for hook in hooks:
        try:
            end = hook(event)
        except Exception:
            logger.exception(FAILED, hook.__name__)
        else:
            if end is not None:
                ends.append((f"end of {hook.__name__}", end))

    def ended(result: R) -> None:
        for what, end in reversed(ends):
            try:
                end(result)
            except Exception:
                logger.exception(FAILED, what)

    return ended
