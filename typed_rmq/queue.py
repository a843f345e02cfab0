"""``Queue[T]``: what users hold.

It only puts the parts together: the producer packs, the backends send, consumers take.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from . import commands, worker
from .async_session import AsyncSession
from .backend import AsyncBackend, SyncBackend
from .batches import achunks, chunks
from .binding import UNBOUND, bind_type, type_name
from .commands import Command, PublishReply
from .consumer import Consumer
from .core import Plan
from .deadletters import DeadLetters
from .dedup import Dedup
from .dedup import bind as bind_dedup
from .drivers.connection import Client, Connection
from .drivers.locate import locate
from .errors import ConfigError
from .events import Observer, Observers, Unavailable
from .keys import QueueKeys
from .message import Message
from .options import check_count, check_lease, plan_of
from .producer import MAX_BATCH, Batch, Lane, Overflow, Producer, PublishOptions
from .reading import peeked, queue_stats
from .received import Receiver
from .results import Peeked, Priority, QueueStats, Receipt, State
from .retry import Duration, Retry, seconds
from .serializers.codec import Codec
from .serializers.json import Json
from .serializers.protocol import Serializer, SerializerFactory, Wrapper
from .session import Context
from .sync_session import SyncSession
from .worker import AsyncHandler, Handler

T = TypeVar("T")

__all__ = ["Queue"]

ROOM_WAIT = 5.0
"""Seconds after which a publisher that waits for room looks for itself."""


class Queue(Generic[T]):
    """A typed queue in Redis: ``Queue[Order]("orders")`` takes and gives back ``Order``.

    ``T`` is any type that Pydantic's ``TypeAdapter`` takes. All methods come in two forms: a
    plain one, and one for asyncio whose name begins with ``a``. The same object serves both,
    and any number of threads, tasks, and processes.

    Args:
        name: 1 to 128 of the characters ``A-Z a-z 0-9 . _ : -``.
        redis: a URL, a client of redis-py, or a ``Connection`` that queues share. Left out:
            ``REDIS_URL``, else an embedded server (extra ``embedded``).
        serializer: how payloads are stored.
        dedup: which payloads count as the same message; ``None`` turns deduplication off.
        retry: how often and how late a failed message is tried again.
        lease: seconds without a sign of life after which a consumer counts as crashed, and its
            messages go to others.
        max_length: the most ready and delayed messages; ``None`` for no bound.
        overflow: what a publish does at that bound: ``"raise"`` ``QueueFull``, ``"block"`` until
            there is room, or ``"drop_oldest"``, low priority first.
        keep_done: how many completions to keep in a log (see ``peek(state="done")``).
        keep_dead: how many dead letters to keep.
        observers: are told of what happens.
        max_payload: bytes; a larger payload is refused.

    Raises:
        ConfigError: the name, an option, or the address of Redis is wrong, or no type was given.

    Example:
        >>> from pydantic import BaseModel
        >>> from typed_rmq import Queue
        >>> class Order(BaseModel):
        ...     order_id: int
        ...     sku: str
        >>> orders = Queue[Order]("doc-orders")
        >>> orders.publish(Order(order_id=1, sku="A")).duplicate
        False
        >>> for msg in orders.consume(until_empty=True):
        ...     with msg as order:
        ...         print(order.sku)
        A
    """

    _payload_type: ClassVar[object] = UNBOUND

    def __class_getitem__(cls, item: object) -> Any:
        if isinstance(item, TypeVar):
            return super().__class_getitem__(item)  # type: ignore[misc]  # typing has it untyped
        return bind_type(cls, item)

    def __init__(
        self,
        name: str,
        redis: str | Client | Connection | None = None,
        *,
        serializer: Serializer[T] | SerializerFactory | Wrapper = Json(),  # noqa: B008 - frozen
        dedup: Dedup[T] | None = Dedup(),  # noqa: B008 - frozen
        retry: Retry = Retry(),  # noqa: B008 - frozen
        lease: Duration = 60.0,
        max_length: int | None = None,
        overflow: Overflow = "raise",
        keep_done: int = 0,
        keep_dead: int = 10_000,
        observers: Sequence[Observer] = (),
        max_payload: int = 1_048_576,
    ) -> None:
        self._keys = keys = QueueKeys(name)
        payload_type = type(self)._payload_type
        if payload_type is UNBOUND:
            raise ConfigError(
                f"queue {name!r} has no type: write Queue[Order]({name!r}), with the type of its "
                "payloads in the brackets",
                queue=name,
            )
        if overflow not in ("raise", "block", "drop_oldest"):
            raise ConfigError(
                f"overflow must be 'raise', 'block', or 'drop_oldest', got {overflow!r:.50}",
                queue=name,
            )
        adapter: TypeAdapter[T] = _adapter(payload_type, name)
        self._codec: Codec[T] = Codec(adapter, serializer, queue=name, max_payload=max_payload)
        hasher = (
            None
            if dedup is None
            else bind_dedup(dedup, adapter, payload_type, name, stable=self._codec.stable)
        )
        self._lease = check_lease(lease, name)
        self._observers = Observers(observers)
        self._producer: Producer[T] = Producer(
            keys,
            self._codec,
            dedup,
            hasher,
            max_length=max_length,
            overflow=overflow,
            observers=self._observers,
        )
        self._context: Context[T] = Context(
            keys=keys,
            codec=self._codec,
            retry=retry,
            keep_done=check_count(keep_done, "keep_done", name),
            keep_dead=check_count(keep_dead, "keep_dead", name),
            observers=self._observers,
        )
        self._connection, self._owns_connection = locate(redis)
        self._sync = SyncBackend(self._connection, keys, self._unavailable)
        self._async: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncBackend] = (
            weakref.WeakKeyDictionary()
        )
        one = plan_of(name, self._lease, keep_done, prefetch=1)
        self._receiver: Receiver[T] = Receiver(
            lambda: self._sync_session(one), lambda: self._async_session(one)
        )
        # A session outlives its loop and its consumer while it says goodbye.
        self._sync_sessions: weakref.WeakSet[SyncSession[T]] = weakref.WeakSet()
        self._async_sessions: weakref.WeakSet[AsyncSession[T]] = weakref.WeakSet()
        self._dead: DeadLetters[T] = DeadLetters(
            keys,
            self._codec,
            self._observers,
            self._producer.window_ms,
            self._sync,
            self._backend,
        )

    def __repr__(self) -> str:
        return f"<Queue[{type_name(type(self)._payload_type)}] {self.name!r}>"

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._keys.name

    # --- publishing

    def publish(
        self,
        payload: T,
        *,
        delay: Duration | None = None,
        at: datetime | float | None = None,
        priority: Priority = "normal",
        headers: Mapping[str, str] | None = None,
        dedup_key: str | None = None,
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

        Raises:
            PayloadError: it is not a ``T``, or cannot be stored safely. Nothing was sent.
            QueueFull: the queue is at ``max_length``, or Redis is out of memory.
            QueueUnavailable: Redis did not answer within the retry budget. With deduplication on
                it is safe to publish again.
        """
        options = self._producer.options(
            delay=delay, at=at, priority=priority, headers=headers, dedup_key=dedup_key
        )
        return self._store((payload,), options, None)[0]

    async def apublish(
        self,
        payload: T,
        *,
        delay: Duration | None = None,
        at: datetime | float | None = None,
        priority: Priority = "normal",
        headers: Mapping[str, str] | None = None,
        dedup_key: str | None = None,
    ) -> Receipt:
        """``publish`` for asyncio."""
        options = self._producer.options(
            delay=delay, at=at, priority=priority, headers=headers, dedup_key=dedup_key
        )
        return (await self._astore((payload,), options, None))[0]

    def publish_many(
        self,
        payloads: Iterable[T],
        *,
        batch: int = 500,
        delay: Duration | None = None,
        at: datetime | float | None = None,
        priority: Priority = "normal",
        headers: Mapping[str, str] | None = None,
    ) -> list[Receipt]:
        """Publish many payloads, one round trip per ``batch`` of them (1 to 1,000).

        An invalid payload raises ``PayloadError`` with its ``index`` before its batch is sent;
        the batches before it are stored. Otherwise as ``publish``.
        """
        options, size = self._many(batch, delay, at, priority, headers)
        receipts: list[Receipt] = []
        for chunk in chunks(payloads, size):
            receipts += self._store(chunk, options, len(receipts))
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
    ) -> list[Receipt]:
        """``publish_many`` for asyncio; takes async iterables, too."""
        options, size = self._many(batch, delay, at, priority, headers)
        receipts: list[Receipt] = []
        async for chunk in achunks(payloads, size):
            receipts += await self._astore(chunk, options, len(receipts))
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
            raise ConfigError(f"batch must be 1 to {MAX_BATCH}, got {batch!r}", queue=self.name)
        options = self._producer.options(
            delay=delay, at=at, priority=priority, headers=headers, dedup_key=None
        )
        return options, min(batch, self._producer.largest_batch)

    def _store(
        self, payloads: Sequence[T], options: PublishOptions, first: int | None
    ) -> list[Receipt]:
        store = _Store(self._producer, payloads, options, first)
        while True:
            receipts = store.receipts(self._sync.call(store.command))
            if receipts is not None:
                return receipts
            self._sync.wait(self._keys.room, ROOM_WAIT)

    async def _astore(
        self, payloads: Sequence[T], options: PublishOptions, first: int | None
    ) -> list[Receipt]:
        store, backend = _Store(self._producer, payloads, options, first), self._backend()
        while True:
            receipts = store.receipts(await backend.call(store.command))
            if receipts is not None:
                return receipts
            await backend.wait(self._keys.room, ROOM_WAIT)

    # --- consuming

    def consume(
        self,
        *,
        prefetch: int | Literal["auto"] = "auto",
        ack_linger: Duration = 0.005,
        until_empty: bool = False,
        idle_timeout: Duration | None = None,
        max_messages: int | None = None,
        stop_on_signals: bool = True,
    ) -> Consumer[T]:
        """A consumer, to iterate over with ``for`` or ``async for``.

        Args:
            prefetch: how many messages to fetch at once, 1 to 1,000; ``"auto"`` fetches as many
                as are handled in about 50 ms.
            ack_linger: seconds that an ack may wait for others to be sent with.
            until_empty: end when nothing is ready.
            idle_timeout: end after so many seconds without a message.
            max_messages: end after so many messages.
            stop_on_signals: end at SIGINT and SIGTERM after the message in hand, in the main
                thread and where Python's own handlers are still in place.

        Raises:
            ConfigError: an option is out of range.
        """
        return self._consumer(
            plan_of(
                self.name,
                self._lease,
                self._context.keep_done,
                prefetch=prefetch,
                ack_linger=ack_linger,
                until_empty=until_empty,
                idle_timeout=idle_timeout,
                max_messages=max_messages,
            ),
            stop_on_signals=stop_on_signals,
        )

    def _consumer(self, plan: Plan, *, stop_on_signals: bool) -> Consumer[T]:
        return Consumer(
            lambda: self._sync_session(plan),
            lambda: self._async_session(plan),
            stop_on_signals=stop_on_signals,
        )

    def __iter__(self) -> Iterator[Message[T]]:
        return iter(self.consume())

    def __aiter__(self) -> AsyncIterator[Message[T]]:
        return aiter(self.consume())

    def receive(self, timeout: Duration | None = 0) -> Message[T] | None:
        """One message, or ``None`` when none came within ``timeout`` seconds.

        ``timeout=None`` waits without end. Settle the message with a verdict or by ``with``; one
        that is dropped without a verdict counts as failed.
        """
        return self._receiver.sync().receive(_timeout(timeout))

    async def areceive(self, timeout: Duration | None = 0) -> Message[T] | None:
        """``receive`` for asyncio."""
        return await self._receiver.asynchronous().receive(_timeout(timeout))

    def run(
        self,
        handler: Handler[T],
        *,
        concurrency: int = 1,
        prefetch: int | Literal["auto"] = "auto",
        ack_linger: Duration = 0.005,
        until_empty: bool = False,
        idle_timeout: Duration | None = None,
        max_messages: int | None = None,
        stop_on_signals: bool = True,
    ) -> None:
        """Call ``handler`` with each message, in ``concurrency`` threads, until stopped.

        The handler takes the payload, or the ``Message`` if its parameter says so: by its
        annotation, or, without one, by the name ``msg`` or ``message``. When it returns the
        message is acked, unless it gave a verdict itself; when it raises the message is retried
        by the queue's policy, and the worker goes on. The other options are those of ``consume``.
        """
        worker.check_concurrency(concurrency)
        consumer = self.consume(
            prefetch=prefetch,
            ack_linger=ack_linger,
            until_empty=until_empty,
            idle_timeout=idle_timeout,
            max_messages=max_messages,
            stop_on_signals=stop_on_signals,
        )
        with consumer:
            worker.run_sync(consumer.sync_session(), handler, concurrency)

    async def arun(
        self,
        handler: AsyncHandler[T],
        *,
        concurrency: int = 1,
        prefetch: int | Literal["auto"] = "auto",
        ack_linger: Duration = 0.005,
        until_empty: bool = False,
        idle_timeout: Duration | None = None,
        max_messages: int | None = None,
        stop_on_signals: bool = True,
    ) -> None:
        """``run`` for asyncio, in ``concurrency`` tasks; a sync handler runs in threads."""
        worker.check_concurrency(concurrency)
        consumer = self.consume(
            prefetch=prefetch,
            ack_linger=ack_linger,
            until_empty=until_empty,
            idle_timeout=idle_timeout,
            max_messages=max_messages,
            stop_on_signals=stop_on_signals,
        )
        async with consumer:
            await worker.run_async(consumer.async_session(), handler, concurrency)

    # --- looking and steering

    def stats(self) -> QueueStats:
        """The queue's contents and counters at one moment."""
        return queue_stats(self._sync.call(lambda _: commands.stats(self._keys)))

    async def astats(self) -> QueueStats:
        """``stats`` for asyncio."""
        return queue_stats(await self._backend().call(lambda _: commands.stats(self._keys)))

    def peek(self, n: int = 10, state: State = "ready") -> list[Peeked[T]]:
        """Look at up to ``n`` (1 to 1,000) messages without taking them.

        Ready and delayed ones come in the order of their delivery, dead and done ones the newest
        first.
        """
        command = self._peek(n, state)
        return [peeked(self._codec, state, item) for item in self._sync.call(lambda _: command)]

    async def apeek(self, n: int = 10, state: State = "ready") -> list[Peeked[T]]:
        """``peek`` for asyncio."""
        command = self._peek(n, state)
        items = await self._backend().call(lambda _: command)
        return [peeked(self._codec, state, item) for item in items]

    def _peek(self, n: int, state: State) -> Command[list[tuple[bytes, ...]]]:
        if not isinstance(n, int) or not 1 <= n <= MAX_BATCH:
            raise ConfigError(f"n must be 1 to {MAX_BATCH}, got {n!r}", queue=self.name)
        if state not in ("ready", "delayed", "in_flight", "dead", "done"):
            raise ConfigError(f"{state!r:.50} is no state of a message", queue=self.name)
        return commands.peek(self._keys, state=state, limit=n)

    @property
    def dead(self) -> DeadLetters[T]:
        """The dead letters."""
        return self._dead

    def purge(self) -> int:
        """Delete ready and delayed messages and free their dedup keys; returns how many.

        What consumers hold is not touched, nor what is published meanwhile beyond the number of
        messages at the beginning.
        """
        total, left = 0, None
        while left is None or left > 0:
            reply = self._sync.call(lambda lane: self._purge(lane, left))
            total += reply.deleted
            if reply.deleted == 0:
                break
            left = reply.left if left is None else left - reply.deleted
        return total

    async def apurge(self) -> int:
        """``purge`` for asyncio."""
        total, left = 0, None
        while left is None or left > 0:
            reply = await self._backend().call(lambda lane: self._purge(lane, left))
            total += reply.deleted
            if reply.deleted == 0:
                break
            left = reply.left if left is None else left - reply.deleted
        return total

    def _purge(self, lane: Lane, left: int | None) -> Command[commands.PurgeReply]:
        limit = MAX_BATCH if left is None else min(left, MAX_BATCH)
        return commands.purge(
            self._keys, self._keys.lane(lane.token), lane.next_number(), limit=limit
        )

    def pause(self) -> None:
        """Consumers take nothing more until ``resume``; what they hold they finish."""
        self._sync.call(lambda lane: self._control(lane, paused=True))

    def resume(self) -> None:
        """Consumers go on."""
        self._sync.call(lambda lane: self._control(lane, paused=False))

    async def apause(self) -> None:
        """``pause`` for asyncio."""
        await self._backend().call(lambda lane: self._control(lane, paused=True))

    async def aresume(self) -> None:
        """``resume`` for asyncio."""
        await self._backend().call(lambda lane: self._control(lane, paused=False))

    def _control(self, lane: Lane, *, paused: bool) -> Command[str]:
        return commands.control(
            self._keys, self._keys.lane(lane.token), lane.next_number(), paused=paused
        )

    # --- the end

    def close(self) -> None:
        """Stop this object's consumers and close the connections that it made.

        The queue stays in Redis. Messages taken by ``receive`` and not settled count as failed.
        """
        self._receiver.close()
        for session in list(self._sync_sessions):
            session.stop()
            if not session.core.in_hand():
                session.close()
        self._sync.close()
        if self._owns_connection:
            self._connection.close()

    async def aclose(self) -> None:
        """``close`` for asyncio: also closes the connections of the running event loop."""
        await self._receiver.aclose()
        for session in list(self._async_sessions):
            session.stop()
            if not session.core.in_hand():
                await session.aclose()
        backend = self._async.pop(asyncio.get_running_loop(), None)
        if backend is not None:
            await backend.aclose()
        if self._owns_connection:
            await self._connection.aclose()
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- parts

    def _unavailable(self, reason: str) -> None:
        if self._observers:
            self._observers.tell(Observer.unavailable, Unavailable(self.name, reason))

    def _backend(self) -> AsyncBackend:
        loop = asyncio.get_running_loop()
        backend = self._async.get(loop)
        if backend is None:
            backend = self._async[loop] = AsyncBackend(
                self._connection, self._keys, self._unavailable
            )
        return backend

    def _sync_session(self, plan: Plan) -> SyncSession[T]:
        session = SyncSession(self._context, plan, self._sync.driver)
        self._sync_sessions.add(session)
        return session

    def _async_session(self, plan: Plan) -> AsyncSession[T]:
        fallback = (lambda: self._sync.driver) if self._connection.has_sync else None
        session = AsyncSession(self._context, plan, self._backend().driver, fallback)
        self._async_sessions.add(session)
        return session


class _Store(Generic[T]):
    """One batch on its way: packed once, sent until there is room for it."""

    __slots__ = ("_batch", "_first", "_options", "_payloads", "_producer")

    def __init__(
        self,
        producer: Producer[T],
        payloads: Sequence[T],
        options: PublishOptions,
        first: int | None,
    ) -> None:
        self._producer = producer
        self._payloads = payloads
        self._options = options
        self._first = first
        self._batch: Batch | None = None

    def command(self, lane: Lane) -> Command[PublishReply]:
        batch = self._batch
        if batch is None:
            batch = self._producer.pack(lane, self._payloads, self._options, self._first)
            self._batch = batch
        return self._producer.command(lane, batch, self._options)

    def receipts(self, reply: PublishReply) -> list[Receipt] | None:
        assert self._batch is not None
        return self._producer.receipts(self._batch, reply)


def _adapter(payload_type: Any, queue: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(payload_type)
    except PydanticUserError as error:
        raise ConfigError(
            f"queue {queue!r}: Pydantic has no schema for {type_name(payload_type)}: "
            f"{str(error).splitlines()[0]}",
            queue=queue,
        ) from None


def _timeout(timeout: Duration | None) -> float | None:
    return None if timeout is None else seconds(timeout, "timeout")
