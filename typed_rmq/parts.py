"""What a queue object is made of, put together once and shared by all its methods."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import Generator, Sequence
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from .async_session import AsyncSession
from .backend import AsyncBackend, SyncBackend
from .binding import type_name
from .deadletters import DeadLetters
from .dedup import Dedup
from .dedup import bind as bind_dedup
from .drivers.connection import Client, Connection
from .drivers.locate import locate
from .durability import Durability, check_durability
from .errors import ConfigError
from .events import Observer, Observers, Unavailable
from .keys import QueueKeys
from .losses import OnDataLoss
from .options import check_count, check_lease, plan_of
from .producer import Overflow, Producer
from .received import Receiver
from .retry import Duration, Retry
from .serializers.codec import Codec
from .serializers.protocol import Serializer, SerializerFactory, Wrapper
from .session import Context
from .steps import Plan
from .supervisor import Supervisor
from .sync_session import SyncSession

T = TypeVar("T")

__all__ = ["Parts"]


class Parts(Generic[T]):
    """The parts; the arguments are those of ``Queue``, with its payload type."""

    def __init__(
        self,
        name: str,
        redis: str | Client | Connection | None,
        payload_type: object,
        *,
        serializer: Serializer[T] | SerializerFactory | Wrapper,
        dedup: Dedup[T] | None,
        retry: Retry,
        lease: Duration,
        max_length: int | None,
        overflow: Overflow,
        keep_done: int,
        keep_dead: int,
        observers: Sequence[Observer],
        max_payload: int,
        durability: Durability | None,
        on_data_loss: OnDataLoss,
    ) -> None:
        keys = QueueKeys(name)
        self.keys: QueueKeys = keys
        check_durability(durability, name)
        self.durability: Durability | None = durability
        adapter: TypeAdapter[T] = _adapter(payload_type, name)
        self.codec: Codec[T] = Codec(adapter, serializer, queue=name, max_payload=max_payload)
        hasher = (
            None
            if dedup is None
            else bind_dedup(dedup, adapter, payload_type, name, stable=self.codec.stable)
        )
        self.lease: float = check_lease(lease, name)
        self.observers: Observers = Observers(observers)
        self.producer: Producer[T] = Producer(
            keys,
            self.codec,
            dedup,
            hasher,
            max_length=max_length,
            overflow=overflow,
            observers=self.observers,
            on_data_loss=on_data_loss,
        )
        self.context: Context[T] = Context(
            keys=keys,
            codec=self.codec,
            retry=retry,
            keep_done=check_count(keep_done, "keep_done", name),
            keep_dead=check_count(keep_dead, "keep_dead", name),
            observers=self.observers,
            on_data_loss=on_data_loss,
        )
        self._connection, self._owns_connection = locate(redis)
        self.sync: SyncBackend = SyncBackend(self._connection, keys, self._unavailable)
        self._async: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncBackend] = (
            weakref.WeakKeyDictionary()
        )
        self._supervisors: list[Supervisor] = []
        # A session outlives its loop and its consumer while it says goodbye.
        self._sync_sessions: weakref.WeakSet[SyncSession[T]] = weakref.WeakSet()
        self._async_sessions: weakref.WeakSet[AsyncSession[T]] = weakref.WeakSet()
        one = plan_of(name, self.lease, keep_done, prefetch=1)
        self.receiver: Receiver[T] = Receiver(
            lambda: self.sync_session(one), lambda: self.async_session(one)
        )
        _parts.add(self)
        self.dead: DeadLetters[T] = DeadLetters(
            keys,
            self.codec,
            self.observers,
            self.producer.window_ms,
            self.sync,
            self.backend,
        )

    def backend(self) -> AsyncBackend:
        """The backend of the running event loop."""
        loop = asyncio.get_running_loop()
        backend = self._async.get(loop)
        if backend is None:
            backend = self._async[loop] = AsyncBackend(
                self._connection, self.keys, self._unavailable
            )
        return backend

    def sync_session(self, plan: Plan) -> SyncSession[T]:
        """A new session of sync code."""
        session = SyncSession(self.context, plan, self.sync.driver)
        self._sync_sessions.add(session)
        return session

    def async_session(self, plan: Plan) -> AsyncSession[T]:
        """A new session of the running event loop."""
        fallback = (lambda: self.sync.driver) if self._connection.has_sync else None
        session = AsyncSession(self.context, plan, self.backend().driver, fallback)
        self._async_sessions.add(session)
        return session

    @contextlib.contextmanager
    def supervised(self, supervisor: Supervisor) -> Generator[None]:
        """While this lasts, ``close`` stops these processes."""
        self._supervisors.append(supervisor)
        try:
            yield
        finally:
            self._supervisors.remove(supervisor)

    def after_fork(self) -> None:
        """In the child: the parent's event loops and their sessions are not ours."""
        self._async.clear()
        self._supervisors.clear()
        self.receiver.after_fork()

    def _unavailable(self, reason: str) -> None:
        if self.observers:
            self.observers.tell(Observer.unavailable, Unavailable(self.keys.name, reason))

    def close(self) -> None:
        """Close the sync sessions and the connections that were made here."""
        for supervisor in list(self._supervisors):
            supervisor.stop()
        self.receiver.close()
        for session in list(self._sync_sessions):
            session.stop()
            # One with a message in hand ends by itself, when its loop comes round.
            if not session.core.in_hand():
                session.close()
        self.sync.close()
        if self._owns_connection:
            self._connection.close()

    async def aclose(self) -> None:
        """The same for the running event loop, and for sync code, too."""
        await self.receiver.aclose()
        loop = asyncio.get_running_loop()
        for session in list(self._async_sessions):
            if session.loop is not loop:
                if session.loop.is_closed():
                    session.leave()
                continue
            session.stop()
            if not session.core.in_hand():
                await session.aclose()
        backend = self._async.get(loop)
        if backend is not None:
            await backend.aclose()
            # Only now: a call that was cancelled in the middle can be made again.
            self._async.pop(loop, None)
        if self._owns_connection:
            await self._connection.aclose()
        self.close()


_parts: weakref.WeakSet[Parts[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for parts in list(_parts):
        parts.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _adapter(payload_type: Any, queue: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(payload_type)
    except PydanticUserError as error:
        raise ConfigError(
            f"queue {queue!r}: Pydantic has no schema for {type_name(payload_type)}: "
            f"{str(error).splitlines()[0]}",
            queue=queue,
        ) from None
