"""The publishing half of a queue."""

from __future__ import annotations

from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from .batches import achunks, chunks
from .commands import Command, PublishReply
from .durability import Durability, check_durability
from .errors import ConfigError
from .events import Observers, PublishEnded, begin
from .events import Publishing as PublishBegun
from .parts import Parts
from .producer import MAX_BATCH, Lane, PublishOptions
from .results import Priority, Receipt
from .retry import Duration
from .storing import Store

T = TypeVar("T")

__all__ = ["Publishing"]

ROOM_WAIT: Final = 5.0
"""Seconds after which a publisher that waits for room looks for itself."""


class Publishing(Generic[T]):
    """What producers use; part of ``Queue``."""

    _parts: Parts[T]

    def publish(
        self,
        payload: T,
        *,
        delay: Duration | None = None,
        at: datetime | float | None = None,
        priority: Priority = "normal",
        headers: Mapping[str, str] | None = None,
        dedup_key: str | None = None,
        durability: Durability | None = None,
    ) -> Receipt:
        """Validate a payload and store it as a message: one round trip.

        When it returns, Redis has the message, once. A call that lost its reply is repeated
        inside without storing it twice.

        Args:
            payload: what to store.
            delay: seconds until it can be delivered.
            at: when it can be delivered: seconds since 1970, or a datetime with a time zone.
            priority: ``"high"``, ``"normal"``, or ``"low"``.
            headers: text to text, handed to the consumer beside the payload.
            dedup_key: what makes it the same message, in place of the queue's policy.
            durability: ``Replicas(...)`` or ``Fsync()``: what to wait for before it returns, in
                place of the queue's own.

        Raises:
            PayloadError: it is not a ``T``, or cannot be stored safely. Nothing was sent.
            QueueFull: the queue is at ``max_length``, or Redis is out of memory.
            QueueUnavailable: Redis did not answer within the retry budget. With deduplication on
                it is safe to publish again.
            DurabilityNotReached: it is stored, but not as safe as ``durability`` asks for.
        """
        if self._parts.observers.on_publishing:
            with self._call(headers, many=False) as call:
                options = self._parts.producer.options(
                    delay=delay, at=at, priority=priority, headers=call.headers, dedup_key=dedup_key
                )
                call.receipts += self._store((payload,), options, None, durability)
            return call.receipts[0]
        options = self._parts.producer.options(
            delay=delay, at=at, priority=priority, headers=headers, dedup_key=dedup_key
        )
        return self._store((payload,), options, None, durability)[0]

    async def apublish(
        self,
        payload: T,
        *,
        delay: Duration | None = None,
        at: datetime | float | None = None,
        priority: Priority = "normal",
        headers: Mapping[str, str] | None = None,
        dedup_key: str | None = None,
        durability: Durability | None = None,
    ) -> Receipt:
        """``publish`` for asyncio."""
        if self._parts.observers.on_publishing:
            with self._call(headers, many=False) as call:
                options = self._parts.producer.options(
                    delay=delay, at=at, priority=priority, headers=call.headers, dedup_key=dedup_key
                )
                call.receipts += await self._astore((payload,), options, None, durability)
            return call.receipts[0]
        options = self._parts.producer.options(
            delay=delay, at=at, priority=priority, headers=headers, dedup_key=dedup_key
        )
        return (await self._astore((payload,), options, None, durability))[0]

    def publish_many(
        self,
        payloads: Iterable[T],
        *,
        batch: int = 500,
        delay: Duration | None = None,
        at: datetime | float | None = None,
        priority: Priority = "normal",
        headers: Mapping[str, str] | None = None,
        durability: Durability | None = None,
    ) -> list[Receipt]:
        """Publish many payloads, one round trip per ``batch`` of them (1 to 1,000).

        An invalid payload raises ``PayloadError`` with its ``index`` before its batch is sent;
        the batches before it are stored. Otherwise as ``publish``.
        """
        with self._call(headers, many=True) as call:
            options, size = self._many(batch, delay, at, priority, call.headers)
            receipts = call.receipts
            if self._parts.producer.max_length or durability or self._parts.durability:
                # Each batch must know what became of the one before: whether there was room.
                for chunk in chunks(payloads, size):
                    receipts += self._store(chunk, options, len(receipts), durability)
                return receipts
            sent: deque[Store[T]] = deque()

            def calls() -> Iterator[Callable[[Lane], Command[PublishReply]]]:
                first = 0
                for chunk in chunks(payloads, size):
                    sent.append(Store(self._parts.producer, chunk, options, first))
                    first += len(chunk)
                    yield sent[-1].command

            for reply in self._parts.sync.stream(calls()):
                receipts += sent.popleft().receipts(reply) or ()
            return receipts

    async def apublish_many(
        self,
        payloads: Iterable[T] | AsyncIterable[T],
        *,
        batch: int = 500,
        delay: Duration | None = None,
        at: datetime | float | None = None,
        priority: Priority = "normal",
        headers: Mapping[str, str] | None = None,
        durability: Durability | None = None,
    ) -> list[Receipt]:
        """``publish_many`` for asyncio; takes async iterables, too."""
        with self._call(headers, many=True) as call:
            options, size = self._many(batch, delay, at, priority, call.headers)
            receipts = call.receipts
            if self._parts.producer.max_length or durability or self._parts.durability:
                async for chunk in achunks(payloads, size):
                    receipts += await self._astore(chunk, options, len(receipts), durability)
                return receipts
            sent: deque[Store[T]] = deque()

            async def calls() -> AsyncIterator[Callable[[Lane], Command[PublishReply]]]:
                first = 0
                async for chunk in achunks(payloads, size):
                    sent.append(Store(self._parts.producer, chunk, options, first))
                    first += len(chunk)
                    yield sent[-1].command

            async for reply in self._parts.backend().stream(calls()):
                receipts += sent.popleft().receipts(reply) or ()
            return receipts

    def _many(
        self,
        batch: int,
        delay: Duration | None,
        at: datetime | float | None,
        priority: Priority,
        headers: Mapping[str, str] | None,
    ) -> tuple[PublishOptions, int]:
        if not isinstance(batch, int) or not 1 <= batch <= MAX_BATCH:
            raise ConfigError(
                f"batch must be 1 to {MAX_BATCH}, got {batch!r}", queue=self._parts.keys.name
            )
        options = self._parts.producer.options(
            delay=delay, at=at, priority=priority, headers=headers, dedup_key=None
        )
        return options, min(batch, self._parts.producer.largest_batch)

    def _call(self, headers: Mapping[str, str] | None, *, many: bool) -> _Call:
        return _Call(self._parts.observers, self._parts.keys.name, headers, many=many)

    def _store(
        self,
        payloads: Sequence[T],
        options: PublishOptions,
        first: int | None,
        durability: Durability | None,
    ) -> list[Receipt]:
        parts = self._parts
        if durability is None:
            durability = parts.durability
        else:
            check_durability(durability, parts.keys.name)
        store, backend = Store(parts.producer, payloads, options, first), parts.sync
        while True:
            if first is None and durability is None and options.groups:
                reply = backend.publish(store, options.priority)
            else:
                reply = backend.call(store.command, durability)
            receipts = store.receipts(reply)
            if receipts is not None:
                return receipts
            backend.wait(parts.keys.room, ROOM_WAIT)

    async def _astore(
        self,
        payloads: Sequence[T],
        options: PublishOptions,
        first: int | None,
        durability: Durability | None,
    ) -> list[Receipt]:
        if durability is None:
            durability = self._parts.durability
        else:
            check_durability(durability, self._parts.keys.name)
        store, backend = (
            Store(self._parts.producer, payloads, options, first),
            self._parts.backend(),
        )
        while True:
            if first is None and durability is None and options.groups:
                reply = await backend.publish(store, options.priority)
            else:
                reply = await backend.call(store.command, durability)
            receipts = store.receipts(reply)
            if receipts is not None:
                return receipts
            await backend.wait(self._parts.keys.room, ROOM_WAIT)


class _Call:
    """A call of ``publish`` and its like, which observers are told of when it begins and ends."""

    __slots__ = ("_end", "headers", "receipts")

    def __init__(
        self, observers: Observers, queue: str, headers: Mapping[str, str] | None, *, many: bool
    ) -> None:
        self.receipts: list[Receipt] = []
        self.headers = headers
        self._end: Callable[[PublishEnded], None] | None = None
        if observers.on_publishing:
            event = PublishBegun(queue, many, dict(headers or {}))
            self._end = begin(observers.on_publishing, event)
            self.headers = event.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._end is not None:
            self._end(PublishEnded(tuple(self.receipts), error))
