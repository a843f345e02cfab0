"""What the queue's methods return: small frozen records."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, TypeVar

# Covariant, as the records are frozen: what takes a Peeked[object] takes a Peeked[Order], too.
T = TypeVar("T", covariant=True)

Priority = Literal["high", "normal", "low"]
"""Which of a queue's three lanes a message waits in; higher ones are emptied first."""

State = Literal["ready", "delayed", "in_flight", "dead", "done"]
"""Where a message is: waiting, waiting for its time, held by a consumer, given up, completed."""

__all__ = ["ConsumerInfo", "DeadLetter", "Peeked", "Priority", "QueueStats", "Receipt", "State"]


# Without slots, so that two of its fields can stay what they are in the class: see `stored`.
@dataclass(frozen=True)
class Receipt:
    """What ``publish`` returns once Redis has the message.

    Attributes:
        id: the message's id; of a duplicate, the id of the message that came first.
        duplicate: an equal message was published within the window, so nothing was stored.
        conflict: it is a duplicate by its key, but its content differs from the first one's.
    """

    id: str
    duplicate: bool = False
    conflict: bool = False


def stored(message_id: str) -> Receipt:
    """The receipt of a new message, at a sixth of what the constructor of a frozen class costs."""
    receipt = _new(Receipt)
    receipt.__dict__["id"] = message_id
    return receipt


_new = object.__new__


@dataclass(frozen=True, slots=True)
class QueueStats:
    """A queue at one moment, and what happened to it since it was made.

    Attributes:
        ready: messages that a consumer can take now.
        delayed: messages whose time has not come, retries included.
        in_flight: messages that consumers hold.
        dead: dead letters kept.
        done: completions kept in the log (see ``keep_done``).
        oldest_age: seconds since the oldest ready message was published; 0.0 when none is ready.
        consumers: consumer sessions with a live lease.
        paused: whether consumers take nothing until ``resume``.
        published: messages stored, since the queue was made (so are all that follow).
        duplicates: publishes answered with the id of an earlier message.
        completed: messages acknowledged.
        failed: failed attempts, crashes included.
        retried: failed attempts that were scheduled again.
        dead_lettered: messages that became dead letters.
        released: messages given back without counting an attempt.
        stale: verdicts that came after the lease was lost.
        dropped: messages dropped by ``overflow="drop_oldest"`` or beyond ``keep_dead``.
    """

    ready: int
    delayed: int
    in_flight: int
    dead: int
    done: int
    oldest_age: float
    consumers: int
    paused: bool
    published: int
    duplicates: int
    completed: int
    failed: int
    retried: int
    dead_lettered: int
    released: int
    stale: int
    dropped: int


@dataclass(frozen=True, slots=True)
class ConsumerInfo:
    """A consumer session that is registered in Redis.

    Attributes:
        session: its name, as in ``Peeked.consumer``.
        host: the host that it runs on, as that host calls itself.
        pid: its process there.
        lease: seconds until its lease runs out; negative where it has and nobody noticed yet.
        holding: how many messages it holds, those fetched ahead included.
        message_ids: up to ten of them.
    """

    session: str
    host: str
    pid: int
    lease: float
    holding: int
    message_ids: tuple[str, ...]


# Without slots: typing writes the type argument of DeadLetter[Order](...) into the instance.
@dataclass(frozen=True)
class DeadLetter(Generic[T]):
    """A message that was given up, with all that is known about why.

    Attributes:
        id: the message's id.
        payload: the payload, or ``None`` where it cannot be decoded as the queue's type.
        raw: the stored bytes of the payload, always there.
        reason: why it died, in words.
        error: the last exception as ``Type: text``, if one was seen.
        traceback: its traceback, cut at 16 KiB.
        attempts: how many deliveries were counted.
        published_at: when it was published; ``None`` for bytes that are no message of ours.
        died_at: when it became a dead letter.
        headers: the headers it was published with.
    """

    id: str
    payload: T | None
    raw: bytes = field(repr=False)
    reason: str
    error: str | None
    traceback: str | None = field(repr=False)
    attempts: int
    published_at: datetime | None
    died_at: datetime
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Peeked(Generic[T]):
    """A message seen without taking it.

    Attributes:
        id: the message's id.
        state: where it is.
        payload: the payload, or ``None`` where it cannot be decoded as the queue's type.
        raw: the stored bytes of the payload.
        attempt: the number of its next delivery; of the current one while in flight.
        published_at: when it was published; ``None`` for bytes that are no message of ours.
        headers: the headers it was published with.
        priority: its priority.
        due_at: when it can be delivered, for a delayed message.
        consumer: the session that holds it, for one in flight.
        finished_at: when it ended, for one that is done or dead.
        duration: seconds from its delivery to its completion, for one that is done.
        reason: why it died, for a dead one.
        error: the last exception of a dead one as ``Type: text``, if one was seen.
        cursor: for ``peek(after=...)``: where the page behind this message begins.
    """

    id: str
    state: State
    payload: T | None
    raw: bytes = field(repr=False)
    attempt: int
    published_at: datetime | None
    headers: dict[str, str]
    priority: Priority
    due_at: datetime | None = None
    consumer: str | None = None
    finished_at: datetime | None = None
    duration: float | None = None
    reason: str | None = None
    error: str | None = None
    cursor: str = field(default="", repr=False, compare=False)
