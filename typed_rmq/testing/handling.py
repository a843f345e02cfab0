"""Run consumers in a test: until the queue is empty, or until they die."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, NoReturn, TypeVar, cast

from ..errors import ConfigError
from ..message import Message
from ..queue import Queue
from ..results import Peeked, QueueStats
from ..retry import Duration, seconds
from ..worker import AsyncHandler, Handler, wants_message

T = TypeVar("T")

__all__ = [
    "Delivery",
    "Drained",
    "adrain",
    "await_until_empty",
    "crash",
    "drain",
    "published",
    "wait_until_empty",
]

MOST: Final = 10_000
"""Deliveries after which a queue that does not get empty is taken for one that never will."""

PAGE: Final = 1000
"""The most messages that can be looked at."""

LOOK: Final = 0.002
"""Seconds between two looks at a queue that others empty."""


# --- what was published


def published(queue: Queue[T]) -> list[T]:
    """The payloads in a queue, as consumers will get them: the ready ones, then the delayed ones.

    What consumers have taken is not among them. For priorities, headers, and due times use
    ``queue.peek()``.

    Raises:
        AssertionError: there are more than 1,000, or one that cannot be decoded.

    Example:
        >>> from typed_rmq import Queue
        >>> from typed_rmq.testing import published
        >>> numbers = Queue[int]("doc-published")
        >>> _ = numbers.publish_many([1, 2, 3])
        >>> published(numbers)
        [1, 2, 3]
    """
    found = queue.peek(PAGE) + queue.peek(PAGE, "delayed")
    if len(found) >= PAGE:
        raise AssertionError(f"{queue!r} holds {PAGE} messages or more: use stats() and peek()")
    return [_payload(queue, one) for one in found]


def _payload(queue: Queue[T], one: Peeked[T]) -> T:
    if one.payload is None and one.raw != b"null":
        raise AssertionError(f"message {one.id} in {queue!r} cannot be decoded as its type")
    return cast("T", one.payload)


# --- handling


@dataclass(frozen=True)
class Delivery(Generic[T]):
    """One call of a handler.

    Attributes:
        payload: what it was called with.
        id: the message's id.
        attempt: 1 for the first.
        headers: the headers the message was published with.
        error: what the handler raised, if it did.
    """

    payload: T
    id: str
    attempt: int
    headers: dict[str, str]
    error: Exception | None = None


@dataclass(frozen=True)
class Drained(Generic[T]):
    """What was handled while a queue was drained.

    Attributes:
        deliveries: every call of the handler, in the order in which they ended.
    """

    deliveries: list[Delivery[T]] = field(default_factory=list[Delivery[T]])

    @property
    def payloads(self) -> list[T]:
        """Of the calls that went well."""
        return [one.payload for one in self.deliveries if one.error is None]

    @property
    def errors(self) -> list[Exception]:
        """What the handler raised."""
        return [one.error for one in self.deliveries if one.error is not None]

    def note(self, message: Message[T], error: Exception | None) -> None:
        """Add a call."""
        self.deliveries.append(
            Delivery(message.payload, message.id, message.attempt, message.headers, error)
        )

    def finish(self, queue: Queue[T], *, keep_errors: bool) -> Drained[T]:
        """Itself, unless the test must know of something that went wrong."""
        if len(self.deliveries) >= MOST:
            raise AssertionError(
                f"{queue!r} is not empty after {MOST} deliveries: does its handler publish what "
                "it gets, or retry without a delay?"
            )
        if self.errors and not keep_errors:
            if len(self.errors) == 1:
                raise self.errors[0]
            raise ExceptionGroup(f"the handler of {queue!r} failed", self.errors)
        return self


def drain(
    queue: Queue[T],
    handler: Handler[T] | None = None,
    *,
    concurrency: int = 1,
    idle: Duration | None = None,
    keep_errors: bool = False,
) -> Drained[T]:
    """Handle what is ready, as ``queue.run(handler)`` does, and return when nothing is left.

    An error of the handler counts as the queue's policy says (the message is delayed, or becomes
    a dead letter), and is raised here at the end, so that no test overlooks it.

    Args:
        queue: what to drain.
        handler: takes the payload, or the message, as with ``run``; left out, all are acked.
        concurrency: in so many threads.
        idle: wait so many seconds at most for each message that is delayed or in the hands of
            others. What a crashed consumer held is taken over when its lease was seen expired
            twice, a twentieth of the queue's lease (at most a second) apart.
        keep_errors: return the handler's errors in ``errors`` rather than raise them.

    Raises:
        AssertionError: the queue was not empty after 10,000 deliveries.

    Example:
        >>> from typed_rmq import Queue
        >>> from typed_rmq.testing import drain
        >>> numbers = Queue[int]("doc-drain")
        >>> _ = numbers.publish_many([1, 2, 3])
        >>> seen = []
        >>> drain(numbers, seen.append).payloads == seen == [1, 2, 3]
        True
    """
    drained: Drained[T] = Drained()
    noting = _Noting(handler, drained)
    if noting.is_async:
        raise ConfigError("drain() takes a sync handler; use adrain() for an async one")
    while True:
        queue.run(
            noting.call,
            concurrency=concurrency,
            until_empty=True,
            max_messages=MOST,
            stop_on_signals=False,  # Ctrl-C is for the test run
        )
        if idle is None or not _more_may_come(queue.stats()):
            break
        before = len(drained.deliveries)
        queue.run(noting.call, idle_timeout=idle, max_messages=1, stop_on_signals=False)
        if len(drained.deliveries) == before:
            break
    return drained.finish(queue, keep_errors=keep_errors)


async def adrain(
    queue: Queue[T],
    handler: AsyncHandler[T] | None = None,
    *,
    concurrency: int = 1,
    idle: Duration | None = None,
    keep_errors: bool = False,
) -> Drained[T]:
    """``drain`` for asyncio, as ``queue.arun`` does it; a sync handler runs in a thread."""
    drained: Drained[T] = Drained()
    noting = _Noting(handler, drained)
    while True:
        await queue.arun(
            noting.acall,
            concurrency=concurrency,
            until_empty=True,
            max_messages=MOST,
            stop_on_signals=False,
        )
        if idle is None or not _more_may_come(await queue.astats()):
            break
        before = len(drained.deliveries)
        await queue.arun(noting.acall, idle_timeout=idle, max_messages=1, stop_on_signals=False)
        if len(drained.deliveries) == before:
            break
    return drained.finish(queue, keep_errors=keep_errors)


def _more_may_come(stats: QueueStats) -> bool:
    """Without being published: out of others' hands, or when its time comes."""
    return stats.in_flight + stats.delayed + stats.ready > 0


class _Noting(Generic[T]):
    """A handler that notes what becomes of each message."""

    def __init__(self, handler: Callable[..., object] | None, drained: Drained[T]) -> None:
        self._handler = handler
        self._drained = drained
        self._message = handler is not None and wants_message(handler)
        self.is_async: bool = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an object whose call is async
        )

    def _handle(self, message: Message[T]) -> object:
        if self._handler is None:
            return None
        return self._handler(message if self._message else message.payload)

    def call(self, message: Message[T]) -> object:
        try:
            result = self._handle(message)
        except Exception as error:
            self._drained.note(message, error)
            raise
        self._drained.note(message, None)
        return result

    async def acall(self, message: Message[T]) -> None:
        try:
            if self.is_async or self._handler is None:
                result = self._handle(message)
            else:
                result = await asyncio.to_thread(self._handle, message)
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            self._drained.note(message, error)
            raise
        self._drained.note(message, None)


# --- consumers that run beside the test


def wait_until_empty(queue: Queue[T], timeout: Duration = 5.0) -> None:
    """Wait until consumers have handled all that is ready, and given their verdicts.

    For consumers that run in threads or processes beside the test. Delayed messages do not count.

    Raises:
        AssertionError: something is ready or in flight after ``timeout`` seconds.

    Example:
        >>> import threading
        >>> from typed_rmq import Queue
        >>> from typed_rmq.testing import wait_until_empty
        >>> numbers = Queue[int]("doc-wait")
        >>> consumer = threading.Thread(target=lambda: [None for msg in numbers])
        >>> consumer.start()
        >>> _ = numbers.publish_many([1, 2, 3])
        >>> wait_until_empty(numbers)
        >>> numbers.close()  # ends its consumers
        >>> consumer.join()
    """
    deadline = time.monotonic() + seconds(timeout, "timeout")
    while not _is_empty(queue, queue.stats(), deadline):
        time.sleep(LOOK)


async def await_until_empty(queue: Queue[T], timeout: Duration = 5.0) -> None:
    """``wait_until_empty`` for asyncio: for consumers that run in tasks beside the test."""
    deadline = time.monotonic() + seconds(timeout, "timeout")
    while not _is_empty(queue, await queue.astats(), deadline):  # noqa: ASYNC110 - in Redis
        await asyncio.sleep(LOOK)


def _is_empty(queue: Queue[T], stats: QueueStats, deadline: float) -> bool:
    if stats.ready == 0 and stats.in_flight == 0:
        return True
    if time.monotonic() > deadline:
        raise AssertionError(
            f"{queue!r} is not empty: {stats.ready} messages are ready and {stats.in_flight} in "
            f"flight, with {stats.consumers} consumers"
        )
    return False


# --- dying


def crash(queue: Queue[T], handler: AsyncHandler[T] | None = None) -> Peeked[T]:
    """A consumer takes the first message, handles it, and is killed before it can ack.

    It is a process of its own, forked from the test and ended by SIGKILL as soon as the handler
    returns or raises: raise where it is to die. Only what the handler did outside of its process
    remains, as in life; what it did in memory is gone. The message stays in the hands of the
    dead until the lease is over; then another consumer takes it over, as a further attempt:
    ``rmq_redis.advance(lease)``, then ``drain(queue, handler, idle=...)``.

    Returns:
        The message, in flight.

    Raises:
        AssertionError: nothing was ready.
        ConfigError: this system has no fork.

    Example:
        >>> from typed_rmq import Queue
        >>> from typed_rmq.testing import crash
        >>> numbers = Queue[int]("doc-crash")
        >>> _ = numbers.publish(1)
        >>> crash(numbers).payload
        1
        >>> numbers.stats().in_flight
        1
    """
    if not hasattr(os, "fork"):
        raise ConfigError("crash() needs os.fork, which this system does not have")
    told, tell = os.pipe()
    with warnings.catch_warnings():
        # Python warns of threads in the test: the child needs none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _die(queue, handler, tell)
    os.close(tell)
    with open(told, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
        held = pipe.read().decode()
    os.waitpid(child, 0)
    found = [one for one in queue.peek(PAGE, "in_flight") if one.id == held]
    if not found:
        raise AssertionError(f"{queue!r} has no message that a consumer could crash with")
    return found[0]


def _die(queue: Queue[T], handler: Callable[..., object] | None, tell: int) -> NoReturn:
    """In the child: whatever happens here, nothing of the test goes on."""
    try:
        message = queue.receive()
        if message is not None:
            os.write(tell, message.id.encode())
            if handler is not None:
                result = handler(message if wants_message(handler) else message.payload)
                if inspect.iscoroutine(result):
                    asyncio.run(result)
    finally:
        while True:
            os.kill(os.getpid(), signal.SIGKILL)
