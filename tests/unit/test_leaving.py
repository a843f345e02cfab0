"""How a loop was left: ``break`` and ``return`` are told from everything else.

First with the smallest iterator that asks ``left_by_break``, also while debuggers and coverage
tools look on; then with real loops over a real queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
import trace
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

import pytest

from tests.unit import ways_to_leave
from tests.unit.ways_to_leave import (
    ASYNC_WAYS,
    DONE,
    ENDED,
    FAILED,
    WAYS,
    AsyncWay,
    Boom,
    Way,
)
from typed_rmq import Queue, QueueStats, Retry
from typed_rmq.leaving import current_frame, left_by_break

EXPECTED = (
    Boom,
    ZeroDivisionError,
    AssertionError,
    NameError,
    ValueError,
    TimeoutError,
    KeyboardInterrupt,
    SystemExit,
)

sync_ways = pytest.mark.parametrize(
    ("way", "taken", "verdict"), [pytest.param(*row, id=row[0].__name__) for row in WAYS]
)
async_ways = pytest.mark.parametrize(
    ("way", "taken", "verdict"), [pytest.param(*row, id=row[0].__name__) for row in ASYNC_WAYS]
)


class Probe:
    """Five items, and a note of how it was left."""

    def __init__(self, notes: list[tuple[int, str]]) -> None:
        self.notes = notes
        self.taken = 0
        self.frame = 0
        self.ended = False

    def __iter__(self) -> Iterator[int]:
        return self

    def take(self, depth: int) -> int | None:
        if self.taken == 0:
            self.frame = current_frame(depth)
        if self.taken == 5:
            self.ended = True
            self.notes.append((5, ENDED))
            return None
        self.taken += 1
        return self.taken

    def __next__(self) -> int:
        item = self.take(2)
        if item is None:
            raise StopIteration
        return item

    def __aiter__(self) -> Probe:
        return self

    def __anext__(self) -> Coroutine[Any, Any, int]:
        item = self.take(2)

        async def answer() -> int:
            if item is None:
                raise StopAsyncIteration
            return item

        return answer()

    def __del__(self) -> None:
        if not self.ended:
            verdict = DONE if left_by_break(1, self.frame) else FAILED
            self.notes.append((self.taken, verdict))


def leave(way: Callable[[Any], object], source: object) -> None:
    """Run it, and let go of whatever its exception holds."""
    with contextlib.suppress(*EXPECTED):
        way(source)


def probe(way: Callable[[Any], object]) -> list[tuple[int, str]]:
    notes: list[tuple[int, str]] = []
    sources = [Probe(notes)]
    with contextlib.suppress(*EXPECTED):
        # Only the loop itself may hold the iterator.
        way(_Once(sources))
    if not notes:
        gc.collect()
    return notes


class _Once:
    """Iterable, as a queue is, so that no argument holds the iterator."""

    def __init__(self, sources: list[Probe]) -> None:
        self.sources = sources

    def __iter__(self) -> Iterator[int]:
        return self.sources.pop()

    def __aiter__(self) -> Probe:
        return self.sources.pop()


@sync_ways
def test_each_way_of_leaving_a_loop(way: Way, taken: int, verdict: str) -> None:
    assert probe(way) == [(taken, verdict)]


@async_ways
def test_each_way_of_leaving_an_async_loop(way: AsyncWay, taken: int, verdict: str) -> None:
    assert probe(lambda source: asyncio.run(way(source))) == [(taken, verdict)]


# ------------------------------------------------------------------------ while others look on


def _debugger(way: Way, source: object) -> None:
    """Traces lines and instructions and holds every frame, as a debugger at a breakpoint does."""
    frames = []

    def look(frame: Any, event: str, argument: object) -> Any:
        # Of "just my code": a frame of the iterator itself would hold it.
        if frame.f_code.co_filename != ways_to_leave.__file__:
            return None
        frame.f_trace_opcodes = True
        frames.append((frame, frame.f_lasti, event))
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        way(source)
    finally:
        sys.settrace(before)


def _coverage(way: Way, source: object) -> None:
    trace.Trace(count=1, trace=0).runfunc(way, source)


def _profiler(way: Way, source: object) -> None:
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: None)
    try:
        way(source)
    finally:
        sys.setprofile(before)


def _monitoring(way: Way, source: object) -> None:
    """Every event that there is, as coverage tools on 3.12 and later do it."""
    monitoring = sys.monitoring  # type: ignore[attr-defined]  # not in 3.11
    tool = monitoring.COVERAGE_ID
    monitoring.use_tool_id(tool, "test")
    names = ("LINE", "INSTRUCTION", "JUMP", "BRANCH", "CALL", "PY_START", "PY_RETURN", "PY_UNWIND")
    events = 0
    for name in names:
        event = getattr(monitoring.events, name)
        monitoring.register_callback(tool, event, lambda *_: None)
        events |= event
    monitoring.set_events(tool, events)
    try:
        way(source)
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)


WATCHERS = [_debugger, _coverage, _profiler]
if sys.version_info >= (3, 12):
    WATCHERS.append(_monitoring)


@pytest.mark.parametrize("watcher", WATCHERS)
def test_the_same_while_a_tool_looks_on(watcher: Callable[[Way, object], None]) -> None:
    wrong = [
        (way.__name__, notes)
        for way, taken, verdict in WAYS
        if (notes := probe(lambda source, way=way: watcher(way, source)))  # type: ignore[misc]  # of this turn
        != [(taken, verdict)]
    ]
    assert not wrong


@pytest.mark.parametrize("watcher", WATCHERS)
def test_the_same_in_async_loops_while_a_tool_looks_on(
    watcher: Callable[[Way, object], None],
) -> None:
    wrong = []
    for way, taken, verdict in ASYNC_WAYS:

        def run(source: object, way: AsyncWay = way) -> None:
            watcher(lambda source: asyncio.run(way(source)), source)

        if (notes := probe(run)) != [(taken, verdict)]:
            wrong.append((way.__name__, notes))
    assert not wrong


def test_a_loop_that_became_fast_is_judged_as_at_first() -> None:
    """CPython rewrites instructions of functions that run often."""

    def leave_often(source: Iterable[Any], *, fail: bool) -> None:
        for item in source:
            if fail:
                item + "x"
            break

    for turn in range(200):
        fail = bool(turn % 2)
        notes = probe(lambda source, fail=fail: _quietly(leave_often, source, fail=fail))  # type: ignore[misc]  # of this turn
        assert notes == [(1, FAILED if fail else DONE)]


def _quietly(function: Callable[..., None], *args: object, **options: object) -> None:
    with contextlib.suppress(TypeError):
        function(*args, **options)


# ---------------------------------------------------------------------------- real loops


def settled(queue: Queue[int], taken: int, verdict: str) -> QueueStats:
    """The queue's numbers, once the loop has said goodbye to Redis and all five are accounted."""
    deadline = time.monotonic() + 10
    while True:
        stats = queue.stats()
        done = taken - (verdict == FAILED)
        if (stats.completed, stats.failed, stats.in_flight, stats.consumers) == (
            done,
            taken - done,
            0,
            0,
        ):
            return stats
        assert time.monotonic() < deadline, f"expected {taken} taken, {verdict}: {stats}"
        time.sleep(0.005)


@pytest.fixture
def numbers(redis_url: str, queue_name: str) -> Iterator[Queue[int]]:
    """Five messages; one that fails comes back long after the test."""
    retry = Retry(backoff=100, jitter="none")
    with Queue[int](queue_name, redis_url, retry=retry) as queue:
        queue.publish_many(range(1, 6))
        yield queue


@pytest.mark.servers("valkey")
@sync_ways
def test_each_way_of_leaving_a_loop_over_a_queue(
    numbers: Queue[int], way: Way, taken: int, verdict: str
) -> None:
    leave(way, numbers.consume(until_empty=True))
    stats = settled(numbers, taken, verdict)
    # What was fetched ahead is back, uncounted; what failed waits for its next attempt.
    assert stats.ready == 5 - taken
    assert stats.delayed == (verdict == FAILED)


@pytest.mark.servers("valkey")
@async_ways
def test_each_way_of_leaving_an_async_loop_over_a_queue(
    numbers: Queue[int], way: AsyncWay, taken: int, verdict: str
) -> None:
    async def run() -> QueueStats:
        with contextlib.suppress(*EXPECTED):
            await way(numbers.consume(until_empty=True))
        stats = await asyncio.to_thread(settled, numbers, taken, verdict)
        await numbers.aclose()
        return stats

    stats = asyncio.run(run())
    assert stats.ready == 5 - taken
    assert stats.delayed == (verdict == FAILED)


@pytest.mark.servers("valkey")
def test_a_comprehension_whose_exception_is_kept_is_settled_when_it_is_gone(
    numbers: Queue[int],
) -> None:
    """On 3.11 the exception's traceback holds the comprehension's frame, and that its iterator."""
    kept: BaseException | None = None
    try:
        [1 // 0 for _ in numbers]
    except ZeroDivisionError as error:
        kept = error
    assert numbers.stats().completed == 0
    assert kept is not None
    del kept
    settled(numbers, 1, FAILED)


def test_a_loop_left_while_its_message_has_a_verdict_keeps_that_verdict(
    numbers: Queue[int],
) -> None:
    with pytest.raises(ZeroDivisionError):
        for msg in numbers:
            msg.ack()
            1 // 0  # noqa: B018
    settled(numbers, 1, DONE)
    for msg in numbers:
        msg.retry()
        break
    stats = settled(numbers, 2, FAILED)
    assert stats.delayed == 1


def test_a_managed_loop_left_by_an_exception_keeps_its_traceback(
    redis_url: str, queue_name: str
) -> None:
    with Queue[int](queue_name, redis_url, retry=Retry(max_attempts=1)) as queue:
        queue.publish(1)
        with pytest.raises(ZeroDivisionError), queue.consume() as consumer:
            for _ in consumer:
                1 // 0  # noqa: B018
        (letter,) = queue.dead
        assert "ZeroDivisionError" in str(letter.error)
        assert "1 // 0" in str(letter.traceback)
        # Nothing is left to wait for: the context has said goodbye.
        assert queue.stats().consumers == 0


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit])
def test_a_managed_loop_left_by_an_interrupt_releases(
    redis_url: str, queue_name: str, leaving: type[BaseException]
) -> None:
    with Queue[int](queue_name, redis_url) as queue:
        queue.publish_many(range(3))
        with pytest.raises(leaving), queue.consume() as consumer:
            for _ in consumer:
                raise leaving
        stats = queue.stats()
        assert (stats.ready, stats.failed, stats.completed, stats.in_flight) == (3, 0, 0, 0)
        (first, *_) = queue.peek()
        assert (first.payload, first.attempt) == (0, 1)
