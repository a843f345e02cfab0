"""The consuming half of a queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Generic, Literal, TypeVar

from . import worker
from .consumer import Consumer
from .message import Message
from .options import plan_of
from .parts import Parts
from .processes import make, supervise
from .retry import Duration, seconds
from .worker import AsyncHandler, Handler

T = TypeVar("T")

__all__ = ["Consuming"]


class Consuming(Generic[T]):
    """What consumers use; part of ``Queue``."""

    _parts: Parts[T]

    def consume(
        self,
        *,
        prefetch: int | Literal["auto"] = "auto",
        ack_linger: Duration = 0.005,
        until_empty: bool = False,
        idle_timeout: Duration | None = None,
        max_messages: int | None = None,
        handler_timeout: Duration | None = None,
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
            handler_timeout: seconds that a message may be in hand; past it, it is taken away and
                tried again by the queue's policy, with the reason "timeout". The body of a loop
                goes on, but its verdict no longer counts: ``msg.held`` is false, and a verdict
                raises ``AlreadySettled``.
            stop_on_signals: end at SIGINT and SIGTERM after the message in hand, in the main
                thread and where Python's own handlers are still in place.

        Raises:
            ConfigError: an option is out of range.
        """
        plan = plan_of(
            self._parts.keys.name,
            self._parts.lease,
            self._parts.context.keep_done,
            prefetch=prefetch,
            ack_linger=ack_linger,
            until_empty=until_empty,
            idle_timeout=idle_timeout,
            max_messages=max_messages,
            handler_timeout=handler_timeout,
        )

        return Consumer(
            lambda: self._parts.sync_session(plan),
            lambda: self._parts.async_session(plan),
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
        return self._parts.receiver.sync().receive(_timeout(timeout))

    async def areceive(self, timeout: Duration | None = 0) -> Message[T] | None:
        """``receive`` for asyncio."""
        return await self._parts.receiver.asynchronous().receive(_timeout(timeout))

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
        handler_timeout: Duration | None = None,
        stop_on_signals: bool = True,
        processes: int = 1,
    ) -> None:
        """Call ``handler`` with each message, in ``concurrency`` threads, until stopped.

        The handler takes the payload, or the ``Message`` if its parameter says so: by its
        annotation, or, without one, by the name ``msg`` or ``message``. When it returns the
        message is acked, unless it gave a verdict itself; when it raises the message is retried
        by the queue's policy, and the worker goes on. The other options are those of ``consume``.
        A handler past ``handler_timeout`` cannot be ended, as it runs in a thread: its message goes
        to others, and what it returns no longer counts.

        With ``processes``, 2 to 256, it is done in so many processes, each with ``concurrency``
        threads and ``max_messages`` of its own. One that crashes is started again, at once the
        first time and then after up to 30 s; SIGINT, SIGTERM, and ``close()`` end them after the
        message in hand. The handler, and all that the queue was given, must be importable by
        them, and the queue made with a URL (or a ``Connection`` of one); ``ConfigError`` says
        what is not.
        """
        worker.check_concurrency(concurrency)
        if processes != 1:
            options: dict[str, object] = {
                "concurrency": concurrency,
                "prefetch": prefetch,
                "ack_linger": ack_linger,
                "until_empty": until_empty,
                "idle_timeout": idle_timeout,
                "max_messages": max_messages,
                "handler_timeout": handler_timeout,
            }
            name = self._parts.keys.name
            supervisor = make(self, name, handler, options, processes, signals=stop_on_signals)
            with self._parts.supervised(supervisor):
                supervise(supervisor, name)
            return
        consumer = self.consume(
            prefetch=prefetch,
            ack_linger=ack_linger,
            until_empty=until_empty,
            idle_timeout=idle_timeout,
            max_messages=max_messages,
            handler_timeout=handler_timeout,
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
        handler_timeout: Duration | None = None,
        stop_on_signals: bool = True,
    ) -> None:
        """``run`` for asyncio, in ``concurrency`` tasks; a sync handler runs in threads.

        An async handler past ``handler_timeout`` is cancelled.
        """
        worker.check_concurrency(concurrency)
        consumer = self.consume(
            prefetch=prefetch,
            ack_linger=ack_linger,
            until_empty=until_empty,
            idle_timeout=idle_timeout,
            max_messages=max_messages,
            handler_timeout=handler_timeout,
            stop_on_signals=stop_on_signals,
        )
        async with consumer:
            await worker.run_async(consumer.async_session(), handler, concurrency)


def _timeout(timeout: Duration | None) -> float | None:
    return None if timeout is None else seconds(timeout, "timeout")
