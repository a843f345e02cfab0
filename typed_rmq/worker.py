"""Workers: a handler called with each message, in threads or in tasks."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar, cast, get_origin, get_type_hints

from .async_session import AsyncSession
from .errors import ConfigError, TypedRMQError
from .message import Message
from .sync_session import SyncSession

T = TypeVar("T")

Handler = Callable[[T], object] | Callable[[Message[T]], object]
"""Takes the payload, or the message: see ``wants_message``."""

AsyncHandler = (
    Callable[[T], Awaitable[object] | object] | Callable[[Message[T]], Awaitable[object] | object]
)

ASYNC_HANDLER: Final = "run() takes a sync handler; use arun() for an async one"

__all__ = ["AsyncHandler", "Handler", "run_async", "run_sync"]


def wants_message(handler: Callable[..., object]) -> bool:
    """Whether a handler takes the ``Message`` rather than its payload.

    Its first parameter says so by its annotation; one without an annotation by its name, ``msg``
    or ``message``.
    """
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        return False
    if not parameters:
        raise ConfigError("a handler takes one argument: the payload, or the message")
    first = parameters[0]
    if first.annotation is inspect.Parameter.empty:
        return first.name in ("msg", "message")
    target = handler if inspect.isroutine(handler) else type(handler).__call__
    try:
        annotation: object = get_type_hints(target).get(first.name, first.annotation)
    except Exception:  # noqa: BLE001 - a name that cannot be resolved: its text must do
        annotation = first.annotation
    if isinstance(annotation, str):
        return annotation.split("[")[0].rpartition(".")[2] == "Message"
    return annotation is Message or get_origin(annotation) is Message


def check_concurrency(concurrency: int) -> int:
    if not isinstance(concurrency, int) or not 1 <= concurrency <= 1000:
        raise ConfigError(f"concurrency must be 1 to 1000, got {concurrency!r}")
    return concurrency


class _Call(Generic[T]):
    """A handler with its kind of argument, found out once."""

    def __init__(self, handler: Callable[..., object]) -> None:
        self._handler = handler
        self._message = wants_message(handler)

    def __call__(self, message: Message[T]) -> object:
        return self._handler(message if self._message else message.payload)


def run_sync(session: SyncSession[T], handler: Handler[T], concurrency: int) -> None:
    """Handle messages in ``concurrency`` threads until the session ends."""
    call = _Call[T](cast("Callable[..., object]", handler))
    if _is_async(handler):
        raise ConfigError(ASYNC_HANDLER)
    failures: list[BaseException] = []

    def work() -> None:
        misfit = False
        try:
            while (message := session.take()) is not None:
                with message:
                    result = call(message)
                    if inspect.iscoroutine(result):
                        result.close()
                        message.release()
                        misfit = True
                if misfit:
                    raise ConfigError(ASYNC_HANDLER)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that called run()
            failures.append(error)
            session.stop()

    threads = [
        threading.Thread(target=work, name=f"typed_rmq worker {number}", daemon=True)
        for number in range(1, concurrency)
    ]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


async def run_async(session: AsyncSession[T], handler: AsyncHandler[T], concurrency: int) -> None:
    """Handle messages in ``concurrency`` tasks until the session ends.

    A sync handler runs in a thread, so that it does not hold up the event loop.
    """
    call = _Call[T](cast("Callable[..., object]", handler))
    threaded = not _is_async(handler)
    # A thread cannot be ended: its message is taken from it, and it is waited for.
    limit = None if threaded else session.core.plan.handler_timeout
    failures: list[TypedRMQError] = []

    async def work() -> None:
        while True:
            try:
                message = session.take_now() or await session.take()
            except TypedRMQError as error:
                # The others end after the message in hand: it is not their handlers' fault.
                failures.append(error)
                session.stop()
                return
            if message is None:
                return
            with message:
                result = await asyncio.to_thread(call, message) if threaded else call(message)
                if not inspect.isawaitable(result):
                    continue
                if limit is None:
                    await result
                else:
                    await _limited(session, message, result, limit)

    if concurrency == 1:
        await work()
    else:
        async with asyncio.TaskGroup() as group:
            for number in range(concurrency):
                group.create_task(work(), name=f"typed_rmq worker {number}")
    if failures:
        raise failures[0]


async def _limited(
    session: AsyncSession[T], message: Message[T], result: Awaitable[object], limit: float
) -> None:
    """Wait for a handler; past its time it is cancelled, and its message is tried again."""
    bound = asyncio.timeout(limit)
    try:
        async with bound:
            await result
    except TimeoutError:
        if not bound.expired():
            raise
        session.timed_out(message.envelope, limit)


def _is_async(handler: object) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object whose call is async
    )
