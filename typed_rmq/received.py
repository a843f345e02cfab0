"""``receive()``: one message at a time, outside of a loop.

All messages that a queue object received this way are in one session per thread-world: one for
sync code, one for each event loop.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from .async_session import AsyncSession
from .message import Message
from .sync_session import SyncSession

T = TypeVar("T")

__all__ = ["Received", "Receiver"]


class Received(Message[T]):
    """A message outside of a loop: dropped without a verdict, it counts as failed."""

    __slots__ = ()

    def __enter__(self) -> T:
        self._owner.entered(self.envelope)
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            return super().__exit__(kind, error, traceback)
        finally:
            self._owner.left(self.envelope, error)

    def __del__(self) -> None:
        owner = getattr(self, "_owner", None)
        if owner is not None and owner.is_held(self.envelope):
            owner.fail(self.envelope, None)


class Receiver(Generic[T]):
    """Opens the sessions of ``receive`` and ``areceive`` when they are first needed."""

    def __init__(
        self,
        open_sync: Callable[[], SyncSession[T]],
        open_async: Callable[[], AsyncSession[T]],
    ) -> None:
        self._open_sync = open_sync
        self._open_async = open_async
        self._lock = threading.Lock()
        self._sync: SyncSession[T] | None = None
        self._async: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncSession[T]] = (
            weakref.WeakKeyDictionary()
        )

    def sync(self) -> SyncSession[T]:
        """The session of sync code."""
        with self._lock:
            if self._sync is None or self._sync.closed:
                self._sync = self._open_sync()
                self._sync.core.message_type = Received
            return self._sync

    def asynchronous(self) -> AsyncSession[T]:
        """The session of the running event loop."""
        loop = asyncio.get_running_loop()
        session = self._async.get(loop)
        if session is None or session.closed:
            session = self._async[loop] = self._open_async()
            session.core.message_type = Received
        return session

    def after_fork(self) -> None:
        """In the child: both kinds of sessions are the parent's."""
        self._lock = threading.Lock()
        self._sync = None
        self._async.clear()

    def close(self) -> None:
        """What is still in hand counts as failed."""
        with self._lock:
            session, self._sync = self._sync, None
        if session is not None:
            session.abandon_hands()
            session.close()

    async def aclose(self) -> None:
        """The same for the session of the running event loop."""
        session = self._async.pop(asyncio.get_running_loop(), None)
        if session is not None:
            session.abandon_hands()
            await session.aclose()
