"""A consumer: what ``for``, ``async for``, and workers iterate over.

The iterator of a bare loop is a class of its own, small enough that CPython drops it the moment
the loop is left: its ``__del__`` then tells how (see ``leaving.py``), records the verdict on the
message in hand, and lets the keeper send it.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from time import monotonic
from types import TracebackType
from typing import Generic, Self, TypeVar

from . import signals
from .async_session import AsyncSession
from .leaving import current_frame, left_by_break
from .message import Message
from .session import Session
from .sync_session import SyncSession

T = TypeVar("T")

__all__ = ["Consumer"]


class Consumer(Generic[T]):
    """Consumes a queue: iterate over it, in ``for`` or in ``async for``.

    Each loop over it is a session of its own in Redis. As a context manager it also sees the
    exception that leaves a loop, so that a failed message keeps its traceback, and it has said
    goodbye to Redis when its block ends.

    Example:
        >>> from typed_rmq import Queue
        >>> numbers = Queue[int]("doc-consumer")
        >>> _ = numbers.publish_many([1, 2, 3])
        >>> with numbers.consume(until_empty=True) as consumer:
        ...     for msg in consumer:
        ...         print(msg.payload)
        1
        2
        3
    """

    def __init__(
        self,
        open_sync: Callable[[], SyncSession[T]],
        open_async: Callable[[], AsyncSession[T]],
        *,
        stop_on_signals: bool,
    ) -> None:
        self._open_sync = open_sync
        self._open_async = open_async
        self._stop_on_signals = stop_on_signals
        self._stopped = False
        self._managed = False
        self._sync: weakref.WeakSet[SyncSession[T]] = weakref.WeakSet()
        self._async: weakref.WeakSet[AsyncSession[T]] = weakref.WeakSet()

    # --- sessions

    def sync_session(self) -> SyncSession[T]:
        """A new session, already stopped where the consumer is."""
        session = self._open_sync()
        self._sync.add(session)
        if self._stopped:
            session.stop()
        if self._stop_on_signals:
            signals.watch(session)
        return session

    def async_session(self) -> AsyncSession[T]:
        """A new session of the running event loop."""
        session = self._open_async()
        self._async.add(session)
        if self._stopped:
            session.stop()
        if self._stop_on_signals:
            signals.watch(session)
        return session

    def stop(self) -> None:
        """End its loops after the message in hand; from any thread or signal handler."""
        self._stopped = True
        for session in (*self._sync, *self._async):
            session.stop()

    # --- loops

    def __iter__(self) -> Iterator[Message[T]]:
        return _Loop(self.sync_session(), managed=self._managed)

    def __aiter__(self) -> AsyncIterator[Message[T]]:
        return _AsyncLoop(self.async_session(), managed=self._managed)

    # --- context managers

    def __enter__(self) -> Self:
        self._managed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sessions = list(self._sync)
        try:
            for session in sessions:
                _judge(session, error)
                session.close()
                signals.unwatch(session)
        except BaseException:
            _leave_all(sessions)
            raise

    async def __aenter__(self) -> Self:
        self._managed = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sessions = list(self._async)
        try:
            for session in sessions:
                _judge(session, error)
                await session.aclose()
                signals.unwatch(session)
        except BaseException:
            _leave_all(sessions)
            raise


def _leave_all(sessions: list[SyncSession[T]] | list[AsyncSession[T]]) -> None:
    """An interrupt has cut their end short: what is open yet closes by itself."""
    for session in sessions:
        _let_go_all(session)
        signals.unwatch(session)
        session.leave()


def _let_go_all(session: Session[T]) -> None:
    """An interrupt: what is still in hand was not handled to its end, and others may have it."""
    session.core.doubtful = True
    for envelope in session.core.in_hand():
        if session.is_held(envelope):
            session.let_go(envelope)


def _judge(session: Session[T], error: BaseException | None) -> None:
    """The verdict on what is still in hand when the context of its loop is left."""
    if error is not None and not isinstance(error, Exception):
        session.core.doubtful = True
    for envelope in session.core.in_hand():
        if not session.is_held(envelope):
            continue
        if error is None or isinstance(error, Exception):
            session.fail(envelope, error)
        else:
            session.let_go(envelope)
        session.left(envelope, error)


def _left(
    session: SyncSession[T] | AsyncSession[T],
    message: Message[T] | None,
    *,
    normally: bool,
    managed: bool,
) -> None:
    """A loop was left, with this message in hand."""
    if not normally:
        session.core.doubtful = True
    if message is not None and message.held:
        if normally:
            message.ack()
        elif session.was_interrupted:
            session.let_go(message.envelope)
        elif not managed:
            session.left_by_exception(message.envelope)
    if not normally and not managed:
        _let_go_all(session)  # one that was taken, and has not reached the loop
    if message is not None and not message.held:
        session.left(message.envelope, None)
    if managed:
        # The context manager around the loop sees the exception, decides, and closes.
        session.park()
    else:
        signals.unwatch(session)
        session.leave()


class _Loop(Generic[T]):
    """The iterator of one ``for`` loop."""

    __slots__ = ("__weakref__", "_advance", "_core", "_frame", "_managed", "_message", "_session")

    def __init__(self, session: SyncSession[T], *, managed: bool) -> None:
        self._core = session.core
        self._advance = session.core.advance
        self._managed = managed
        self._message: Message[T] | None = None
        self._frame = 0
        self._session = session

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message[T]:
        previous = self._message
        if previous is not None:
            message = self._advance(previous.envelope, monotonic())
            if message is not None:
                self._message = message
                session = self._session
                if session.armed_at is None:
                    session.recorded()
                if self._core.low:
                    session.claim_ahead()
                return message
            # The ack leaves with the next claim. It is settled: an interrupt while waiting for
            # the next message must not fail it.
            self._message = None
        elif not self._frame:
            self._frame = current_frame(1)
        return self._next()

    def _next(self) -> Message[T]:
        session = self._session
        try:
            message = self._message = session.take()
        except BaseException:
            # The loop ends here, but its iterator lives on in the traceback.
            _leave_all([session])
            raise
        if message is None:
            signals.unwatch(session)
            session.close()
            raise StopIteration
        return message

    def __del__(self) -> None:
        session = getattr(self, "_session", None)  # an interrupt may have come before
        if session is not None and not session.closed:
            normally = left_by_break(1, self._frame)
            _left(session, self._message, normally=normally, managed=self._managed)


class _AsyncLoop(Generic[T]):
    """The iterator of one ``async for`` loop."""

    __slots__ = ("__weakref__", "_advance", "_core", "_frame", "_managed", "_message", "_session")

    def __init__(self, session: AsyncSession[T], *, managed: bool) -> None:
        self._core = session.core
        self._advance = session.core.advance
        self._managed = managed
        self._message: Message[T] | None = None
        self._frame = 0
        self._session = session

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[object, object, Message[T]]:
        previous = self._message
        if previous is None:
            if not self._frame:
                self._frame = current_frame(1)
            return self._next()
        message = self._message = self._advance(previous.envelope, monotonic())
        session = self._session
        if session.armed_at is None:
            session.recorded()
        if message is None:
            return self._next()
        if self._core.low:
            session.claim_ahead()
        return _ready(message)

    async def _next(self) -> Message[T]:
        session = self._session
        try:
            message = self._message = await session.take()
        except BaseException:
            # The loop ends here, but its iterator lives on in the traceback.
            _leave_all([session])
            raise
        if message is None:
            signals.unwatch(session)
            await session.aclose()
            raise StopAsyncIteration
        return message

    def __del__(self) -> None:
        session = getattr(self, "_session", None)  # an interrupt may have come before
        if session is not None and not session.closed:
            normally = left_by_break(1, self._frame)
            _left(session, self._message, normally=normally, managed=self._managed)


async def _ready(message: Message[T]) -> Message[T]:
    return message
