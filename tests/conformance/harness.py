"""One interface for both modes, so that each case of the conformance suite is written once.

``mode.open(Order, lease=1.0)`` makes a queue and gives an ``Rmq``: ``rmq.publish(order)`` calls
``publish`` in sync mode and ``await apublish`` in async mode, in the one ``asyncio.Runner`` of the
test. Beside the queue's own methods it has the loops: ``consume_all``, ``each``, ``run``.

In async mode the event loop runs only while a call is under way: ``mode.sleep`` and ``mode.until``
let it run, as ``time.sleep`` does for threads.

What a ``body`` returns tells the loop what to do inside of the message's block: a float is time to
spend there, ``"break"`` and ``"return"`` leave the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from typed_rmq import Message, Observer, Queue, Retry

__all__ = [
    "FAST",
    "ONCE",
    "AsyncMode",
    "AsyncQueue",
    "BrokenError",
    "Job",
    "Mode",
    "Order",
    "Recorder",
    "Rmq",
    "SyncMode",
    "SyncQueue",
    "broken",
    "ids",
    "orders",
    "timed",
    "utc",
]

timed = pytest.mark.usefixtures("timed")
"""For a case that has to wait: the quick run has it on Valkey only."""

FAST = Retry(backoff=0, jitter="none")
"""Failed messages come back at once."""

ONCE = Retry(max_attempts=1)
"""The first failure is the last."""

LIMIT = 10.0
"""Seconds after which anything that a test waits for counts as never coming."""


class Order(BaseModel):
    order_id: int
    sku: str = "A-1"


def orders(*numbers: int) -> list[Order]:
    return [Order(order_id=number) for number in numbers]


def ids(payloads: list[Order]) -> list[int]:
    return [payload.order_id for payload in payloads]


class BrokenError(Exception):
    """What a failing handler raises."""


def broken(_: object) -> None:
    raise BrokenError("out of paper")


class Recorder(Observer):
    """Keeps every event, in order, as (method, event)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in vars(Observer) and not name.startswith("_"):
            return lambda event: self.events.append((name, event))
        return super().__getattribute__(name)

    def told(self, name: str) -> list[Any]:
        return [event for method, event in list(self.events) if method == name]


# --- what runs in the background


class Job:
    """Something that runs beside the test: a thread or a task."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self.thread: threading.Thread | None = None
        self.task: asyncio.Task[Any] | None = None
        self._result: Any = None
        self._error: BaseException | None = None

    def _work(self, call: Callable[[], Any]) -> None:
        try:
            self._result = call()
        except BaseException as error:
            self._error = error

    @property
    def done(self) -> bool:
        if self.thread is not None:
            return not self.thread.is_alive()
        return self.task is None or self.task.done()

    def result(self, timeout: float = LIMIT) -> Any:
        """What it returned, or what it raised."""
        self._mode.until(lambda: self.done, timeout)
        if self.thread is not None:
            self.thread.join()
            if self._error is not None:
                raise self._error
            return self._result
        assert self.task is not None
        return self.task.result()


# --- the two modes


class Mode(ABC):
    """What differs between sync and async. Subclasses say how to call."""

    name: str

    def __init__(self, url: str, queue_name: str) -> None:
        self.url = url
        self.queue_name = queue_name
        self._open: list[Rmq] = []

    def open(self, payload: Any = Order, name: str | None = None, **options: Any) -> Rmq:
        """A queue; closed when the test ends."""
        options.setdefault("redis", self.url)
        return self.adopt(Queue[payload](name or self.queue_name, **options))

    def adopt(self, queue: Queue[Any]) -> Rmq:
        """The same for a queue that the test made."""
        rmq = Rmq(self, queue)
        self._open.append(rmq)
        return rmq

    def close(self) -> None:
        for rmq in reversed(self._open):
            rmq.close()

    def until(self, condition: Callable[[], Any], timeout: float = LIMIT) -> Any:
        """Wait until the condition holds; fails the test if it does not."""
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout} s")
            self.sleep(0.01)
        return found

    # each mode its own

    @abstractmethod
    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any: ...

    @abstractmethod
    def spawn(self, function: Callable[..., Any], *args: Any, **options: Any) -> Job: ...

    @abstractmethod
    def sleep(self, seconds: float) -> None: ...


class SyncMode(Mode):
    name = "sync"

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return function(*args, **options)

    def spawn(self, function: Callable[..., Any], *args: Any, **options: Any) -> Job:
        job = Job(self)
        call = functools.partial(function, *args, **options)
        job.thread = threading.Thread(target=job._work, args=(call,), daemon=True)
        job.thread.start()
        return job

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class AsyncMode(Mode):
    name = "async"

    def __init__(self, url: str, queue_name: str) -> None:
        super().__init__(url, queue_name)
        self.runner = asyncio.Runner()

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return self.runner.run(function(*args, **options))

    def spawn(self, function: Callable[..., Any], *args: Any, **options: Any) -> Job:
        job = Job(self)
        job.task = self.runner.get_loop().create_task(function(*args, **options))
        return job

    def sleep(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.runner.close()


# --- a queue in the hands of a test


class Rmq:
    """A queue's methods, called as the mode calls them.

    ``rmq.later(name, ...)`` starts one in the background; ``rmq.queue`` is the queue itself.
    """

    def __init__(self, mode: Mode, queue: Queue[Any]) -> None:
        self.mode = mode
        self.queue = queue
        self.operations = SyncQueue(queue) if mode.name == "sync" else AsyncQueue(queue)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return functools.partial(self.mode.call, getattr(self.operations, name))

    def later(self, name: str, *args: Any, **options: Any) -> Job:
        if name in ("each", "run"):
            options.setdefault("stop_on_signals", False)
        return self.mode.spawn(getattr(self.operations, name), *args, **options)

    def consume_all(self, body: Callable[[Message[Any]], Any] | None = None, **options: Any) -> Any:
        """Take what is ready, by `with msg`, and return the payloads."""
        return self.each(body, until_empty=True, **options)

    def fail_all(self, **options: Any) -> list[Any]:
        """Take what is ready, and let the handler raise."""
        return self.consume_all(broken, **options)


class SyncQueue:
    def __init__(self, queue: Queue[Any]) -> None:
        self.queue = queue

    def __getattr__(self, name: str) -> Any:
        if name.startswith("dead_"):
            return getattr(self.queue.dead, name.removeprefix("dead_"))
        return getattr(self.queue, name)

    def dead_list(self) -> list[Any]:
        return list(self.queue.dead)

    def settle(self, message: Message[Any]) -> None:
        message.settle()

    def each(
        self,
        body: Callable[[Message[Any]], Any] | None = None,
        *,
        style: str = "with",
        managed: bool = False,
        source: Any = None,
        **options: Any,
    ) -> list[Any]:
        consumer = self.queue.consume(**options) if source is None else source
        with consumer if managed else contextlib.nullcontext():
            return (self._bare if style == "bare" else self._with)(consumer, body)

    def _with(self, consumer: Any, body: Any) -> list[Any]:
        seen = []
        for msg in consumer:
            with msg as payload:
                seen.append(payload)
                what = body(msg) if body else None
                if what == "break":
                    break
                if what == "return":
                    return seen
                if isinstance(what, float):
                    time.sleep(what)
        return seen

    def _bare(self, consumer: Any, body: Any) -> list[Any]:
        seen = []
        for msg in consumer:
            seen.append(msg.payload)
            what = body(msg) if body else None
            if what == "break":
                break
            if what == "return":
                return seen
            if isinstance(what, float):
                time.sleep(what)
        return seen

    def run(self, handler: Callable[[Any], Any], **options: Any) -> None:
        @functools.wraps(handler)
        def handle(given: Any) -> None:
            what = handler(given)
            if isinstance(what, float):
                time.sleep(what)

        self.queue.run(handle, **options)


class AsyncQueue:
    def __init__(self, queue: Queue[Any]) -> None:
        self.queue = queue

    def __getattr__(self, name: str) -> Any:
        if name.startswith("dead_"):
            return getattr(self.queue.dead, f"a{name.removeprefix('dead_')}")
        return getattr(self.queue, f"a{name}")

    async def dead_list(self) -> list[Any]:
        return [letter async for letter in self.queue.dead]

    async def settle(self, message: Message[Any]) -> None:
        await message.asettle()

    async def each(
        self,
        body: Callable[[Message[Any]], Any] | None = None,
        *,
        style: str = "with",
        managed: bool = False,
        source: Any = None,
        **options: Any,
    ) -> list[Any]:
        consumer = self.queue.consume(**options) if source is None else source
        async with consumer if managed else contextlib.nullcontext():
            return await (self._bare if style == "bare" else self._with)(consumer, body)

    async def _with(self, consumer: Any, body: Any) -> list[Any]:
        seen = []
        async for msg in consumer:
            with msg as payload:
                seen.append(payload)
                what = body(msg) if body else None
                if what == "break":
                    break
                if what == "return":
                    return seen
                if isinstance(what, float):
                    await asyncio.sleep(what)
        return seen

    async def _bare(self, consumer: Any, body: Any) -> list[Any]:
        seen = []
        async for msg in consumer:
            seen.append(msg.payload)
            what = body(msg) if body else None
            if what == "break":
                break
            if what == "return":
                return seen
            if isinstance(what, float):
                await asyncio.sleep(what)
        return seen

    async def run(self, handler: Callable[[Any], Any], **options: Any) -> None:
        @functools.wraps(handler)
        async def handle(given: Any) -> None:
            what = handler(given)
            if isinstance(what, float):
                await asyncio.sleep(what)

        assert inspect.iscoroutinefunction(handle)
        await self.queue.arun(handle, **options)


def utc(moment: datetime) -> datetime:
    """The same moment, after a check that it says that it is UTC."""
    offset = moment.utcoffset()
    assert offset is not None
    assert not offset
    return moment
