"""One delivered message, the same for sync and async loops.

A verdict is only recorded here, without I/O: it reaches Redis with the consumer's next call, or
shortly after by itself.
"""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from . import wire
from .retry import Duration, seconds

T = TypeVar("T")

__all__ = ["Delivery", "Message", "Owner"]


class Owner(Protocol):
    """The consumer that holds a message and takes its verdict."""

    @property
    def queue_name(self) -> str: ...

    def ack(self, envelope: bytes, /) -> None: ...

    def done(self, envelope: bytes, /) -> object: ...

    def retry(self, envelope: bytes, delay: float | None, /) -> None: ...

    def reject(self, envelope: bytes, reason: str, /) -> None: ...

    def release(self, envelope: bytes, /) -> None: ...

    def let_go(self, envelope: bytes, /) -> None: ...

    def fail(self, envelope: bytes, error: BaseException | None, /) -> None: ...

    def is_held(self, envelope: bytes, /) -> bool: ...

    def is_lost(self, envelope: bytes, /) -> bool: ...

    def extend(self, envelope: bytes, /) -> None: ...

    def settle(self, envelope: bytes, /) -> None: ...

    async def asettle(self, envelope: bytes, /) -> None: ...

    def entered(self, envelope: bytes, /) -> None: ...

    def left(self, envelope: bytes, error: BaseException | None, /) -> None: ...


class Delivery:
    """One delivery of a message, without its payload; read from its envelope when asked."""

    __slots__ = ("_envelope",)

    def __init__(self, envelope: bytes) -> None:
        self._envelope = envelope

    def __repr__(self) -> str:
        return f"<Delivery of message {self.id}, attempt {self.attempt}>"

    @property
    def id(self) -> str:
        """The message's id."""
        return wire.shown(self._envelope[25:49])

    @property
    def attempt(self) -> int:
        """1 for the first delivery; 0 for bytes that are no message of ours."""
        digits = self._envelope[17:21]
        return int(digits) if digits.isdigit() else 0

    @property
    def published_at(self) -> datetime | None:
        """When it was published, by Redis's clock; ``None`` for bytes that are no message."""
        digits = self._envelope[1:14]
        return wire.timestamp(int(digits)) if digits.isdigit() else None

    @property
    def headers(self) -> dict[str, str]:
        """The headers it was published with; none where they cannot be read."""
        try:
            head = wire.parse(self._envelope)
            return wire.decode_headers(self._envelope[head.headers_at : head.payload_at]).user
        except wire.BadEnvelope:
            return {}


class Message(Generic[T]):
    """A message in a consumer's hands.

    Settle it in one of three ways: use it as a context manager (acked when the block ends, failed
    when an ``Exception`` leaves it), call a verdict, or let a bare ``for`` loop ack it when it
    asks for the next one.

    Attributes:
        payload: what was published, as the queue's type.
        envelope: the message as it lies in Redis (see ``typed_rmq/wire.py``).

    Example:
        >>> from typed_rmq import Queue
        >>> numbers = Queue[int]("doc-message")
        >>> _ = numbers.publish(7)
        >>> for msg in numbers.consume(until_empty=True):
        ...     with msg as number:
        ...         print(number, msg.attempt)
        7 1
    """

    __slots__ = ("__weakref__", "_owner", "envelope", "payload")

    payload: T
    envelope: bytes

    def __init__(self, payload: T, envelope: bytes, owner: Owner) -> None:
        self.payload = payload
        self.envelope = envelope
        self._owner = owner

    def __repr__(self) -> str:
        return f"<Message {self.id} of queue {self.queue!r}, attempt {self.attempt}>"

    @property
    def id(self) -> str:
        """The message's id: 24 letters and digits, the same in every delivery."""
        return wire.shown(self.envelope[25:49])

    @property
    def attempt(self) -> int:
        """1 for the first delivery; grows with each failure, not with a release."""
        return int(self.envelope[17:21])

    @property
    def published_at(self) -> datetime:
        """When it was published, by Redis's clock, in UTC."""
        return wire.timestamp(int(self.envelope[1:14]))

    @property
    def headers(self) -> dict[str, str]:
        """The headers it was published with."""
        head = wire.parse(self.envelope)
        return wire.decode_headers(self.envelope[head.headers_at : head.payload_at]).user

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._owner.queue_name

    @property
    def lease_lost(self) -> bool:
        """Whether this consumer no longer owns the message: stop working on it."""
        return self._owner.is_lost(self.envelope)

    @property
    def held(self) -> bool:
        """Whether it is in this consumer's hands and has no verdict yet."""
        return self._owner.is_held(self.envelope)

    def ack(self) -> None:
        """Done: the message is removed. Raises ``AlreadySettled`` after another verdict."""
        self._owner.ack(self.envelope)

    def retry(self, delay: Duration | None = None) -> None:
        """Failed: try again after ``delay`` seconds, by default what the queue's policy says.

        At its last attempt the message becomes a dead letter. Raises ``AlreadySettled`` after
        another verdict.
        """
        self._owner.retry(self.envelope, None if delay is None else seconds(delay, "delay"))

    def reject(self, reason: str) -> None:
        """Failed for good: to the dead letters at once, with ``reason``.

        Raises ``AlreadySettled`` after another verdict.
        """
        self._owner.reject(self.envelope, reason)

    def release(self) -> None:
        """Not handled: back to the front of the queue, without counting the attempt.

        Raises ``AlreadySettled`` after another verdict.
        """
        self._owner.release(self.envelope)

    def extend(self) -> None:
        """Renew the lease now rather than when it is due; it is renewed by itself all the same.

        Raises ``AlreadySettled`` after a verdict.
        """
        self._owner.extend(self.envelope)

    def settle(self) -> None:
        """Send the verdict now and wait for Redis's answer.

        Raises:
            LeaseLost: another consumer owned the message by then; the verdict had no effect.
            QueueUnavailable: Redis did not answer within the retry budget.
            TypedRMQError: there is no verdict yet.
        """
        self._owner.settle(self.envelope)

    async def asettle(self) -> None:
        """``settle`` for asyncio."""
        await self._owner.asettle(self.envelope)

    def __enter__(self) -> T:
        return self.payload

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        owner, envelope = self._owner, self.envelope
        if error is None:
            owner.done(envelope)
            return False
        if isinstance(error, Exception):
            if owner.is_held(envelope):
                owner.fail(envelope, error)
            return True
        # KeyboardInterrupt, SystemExit, a cancelled task: not the message's fault.
        if owner.is_held(envelope):
            owner.let_go(envelope)
        return False
