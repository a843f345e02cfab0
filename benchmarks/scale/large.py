"""One large queue: what it takes, what a call costs beside an empty one, and how it gets empty."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, perf_counter_ns

from typed_rmq import Queue

from ..machine import Server
from ..payload import PAYLOAD_BYTES, Order, Orders
from ..slices import Figure
from .sizes import Sizes
from .watching import watching

__all__ = ["BATCH", "Large"]

QUEUE = "bench-large"
EMPTY = "bench-empty"
BATCH = 500
CHUNK = 10_000
FILL = 1_000
HOUR = 3600.0
KEEP = 100_000_000
GOAL = 1.3


@dataclass
class Place:
    """A queue that is measured in; ``full`` is not to be emptied between slices."""

    server: Server
    queue: Queue[Order]
    full: bool = False


@dataclass
class Cost:
    """Of one message, round by round: nanoseconds of the call, and of the server's CPU time."""

    wall: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Work:
    """Something done ``n`` times; ``fills``: so many messages are there beforehand."""

    name: str
    run: Callable[[Queue[Order], list[Order]], int]
    guess: float
    step: int = 1
    fills: bool = False


class Large:
    """The large queue, on a server of its own, and two empty ones: beside it, and on ``other``.

    A context manager: it closes its connections.
    """

    def __init__(self, server: Server, other: Server, orders: Orders, sizes: Sizes) -> None:
        self._server = server
        self._sizes = sizes
        self._orders = orders
        url = server.address.url
        self._queue = Queue[Order](QUEUE, url, keep_dead=KEEP)
        self._full = Place(server, self._queue, full=True)
        self._beside = Place(server, Queue[Order](EMPTY, url))
        self._alone = Place(other, Queue[Order](EMPTY, other.address.url))
        self._baseline = 0
        self._last = 0.0

    def __enter__(self) -> Large:
        return self

    def __exit__(self, *_: object) -> None:
        for place in (self._full, self._beside, self._alone):
            place.queue.close()

    # --- filling

    def fill(self) -> list[Figure]:
        """Publish everything, by a client as anybody has it."""
        self._baseline = self._server.used_memory()
        sizes, queue = self._sizes, self._queue
        figures = self._filled("ready", sizes.ready, lambda models, _: publish(queue, models))
        figures += self._filled(
            "delayed",
            sizes.delayed,
            # Many times, as real ones have: each chunk is due a second after the one before.
            lambda models, chunk: publish(queue, models, HOUR * 12 + chunk),
        )
        stats = queue.stats()
        if (stats.ready, stats.delayed) != (sizes.ready, sizes.delayed):
            raise RuntimeError(f"the queue was not filled: {stats}")
        return figures

    def _filled(
        self, state: str, n: int, store: Callable[[list[Order], int], None]
    ) -> list[Figure]:
        before, began = self._server.used_memory(), perf_counter()
        for chunk, at in enumerate(range(0, n, CHUNK)):
            store(self._orders.models(min(CHUNK, n - at)), chunk)
        took = perf_counter() - began
        grown = self._server.used_memory() - before
        key = "ready:normal" if state == "ready" else state
        usage = self._server.command("MEMORY", "USAGE", f"trmq:{{{QUEUE}}}:{key}", "SAMPLES", 1000)
        assert isinstance(usage, int), "its layout has changed"
        return [
            Figure(
                f"{n:,} {state} messages, bytes each",
                grown / n,
                unit="B",
                detail=f"payload {PAYLOAD_BYTES} bytes; {usage / n:.0f} B of it the message, the "
                f"rest its deduplication key, for an hour; {grown / 2**30:.2f} GiB in all; "
                f"published in {took:.0f} s, {n / took:,.0f}/s",
            )
        ]

    # --- what a call costs

    def costs(self) -> tuple[list[Figure], list[Figure]]:
        """Against an empty queue of the same server, and against one on a server of its own."""
        places = [self._beside, self._alone, self._full]
        beside: list[Figure] = []
        alone: list[Figure] = []
        for work in _WORK:
            costs = [Cost() for _ in places]
            n = 0
            for number in range(-1, self._sizes.rounds):
                share = self._sizes.seconds if number >= 0 else self._sizes.seconds / 3
                rate = work.guess if number < 0 else 1e9 / max(1.0, self._last)
                n = max(1, round(rate * share / work.step)) * work.step
                order = list(zip(places, costs, strict=True))
                for place, cost in order if number % 2 else reversed(order):
                    self._slice(work, place, cost, n, counts=number >= 0)
            beside += _compared(work.name, costs[2], costs[0], "an empty queue")
            alone += _compared(work.name, costs[2], costs[1], "an empty server's")
        return beside, alone

    def _slice(self, work: Work, place: Place, cost: Cost, n: int, *, counts: bool) -> None:
        models = self._orders.models(n)
        if work.fills:
            publish(place.queue, models)
        before = place.server.cpu_ns()
        took = work.run(place.queue, models)
        spent = place.server.cpu_ns() - before
        self._last = took / n
        if counts:
            cost.wall.append(took / n)
            cost.server.append(spent / n)
        if not place.full:
            place.queue.purge()

    # --- getting empty again

    def redrive(self) -> list[Figure]:
        """Messages die, and are sent round again."""
        n = self._sizes.dead
        before = self._server.used_memory()
        took = self._reject(n)
        grown = self._server.used_memory() - before
        with watching(self._server) as watch:
            redriven = self._queue.dead.redrive()
        if redriven != n:
            raise RuntimeError(f"{redriven:,} of {n:,} dead letters were redriven")
        return [
            Figure(
                f"{n:,} dead letters, bytes each more than ready",
                grown / n,
                unit="B",
                detail=f"rejected in {took:.0f} s, {n / took:,.0f}/s; their deduplication keys "
                "are free again",
            ),
            *watch.figures(f"redrive of {n:,} dead letters", n),
        ]

    def purge_dead(self) -> list[Figure]:
        """They die again, and are deleted."""
        n = self._sizes.dead
        self._reject(n)
        with watching(self._server) as watch:
            deleted = self._queue.dead.purge()
        if deleted != n:
            raise RuntimeError(f"{deleted:,} of {n:,} dead letters were deleted")
        return watch.figures(f"purge of {n:,} dead letters", n)

    def purge(self) -> list[Figure]:
        """All that is left is deleted."""
        stats = self._queue.stats()
        n = stats.ready + stats.delayed
        with watching(self._server) as watch:
            deleted = self._queue.purge()
        if deleted != n:
            raise RuntimeError(f"{deleted:,} of {n:,} messages were deleted")
        keys = self._server.command("DBSIZE")
        assert isinstance(keys, int)
        return [
            *watch.figures(f"purge of {n:,} messages", n),
            Figure("keys that are left then", keys, unit="keys", detail=self._left()),
        ]

    def _reject(self, n: int) -> float:
        began = perf_counter()
        with self._queue.consume(max_messages=n) as consumer:
            for msg in consumer:
                msg.reject("it was not to be")
        if len(self._queue.dead) != n:
            raise RuntimeError(f"{len(self._queue.dead):,} of {n:,} messages died")
        return perf_counter() - began

    def _left(self) -> str:
        grown = (self._server.used_memory() - self._baseline) / 2**20
        return (
            f"counters, and lanes for an hour; {grown:.1f} MiB more than before the first message"
        )


def publish(queue: Queue[Order], models: list[Order], delay: float | None = None) -> None:
    queue.publish_many(models, batch=FILL, delay=delay)


def _compared(name: str, full: Cost, empty: Cost, what: str) -> list[Figure]:
    return [
        _ratio(f"{name}: the call / {what}", full.wall, empty.wall),
        _ratio(f"{name}: the server's CPU time / {what}", full.server, empty.server),
    ]


def _ratio(name: str, full: list[float], empty: list[float]) -> Figure:
    ratios = [mine / theirs for mine, theirs in zip(full, empty, strict=True)]
    mine, theirs = statistics.median(full) / 1000, statistics.median(empty) / 1000
    return Figure(
        name,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        goal=GOAL,
        at_most=True,
        detail=f"{mine:,.1f} µs a message, empty {theirs:,.1f} µs",
    )


def _one(queue: Queue[Order], models: list[Order]) -> int:
    began = perf_counter_ns()
    for model in models:
        queue.publish(model)
    return perf_counter_ns() - began


def _later(queue: Queue[Order], models: list[Order]) -> int:
    began = perf_counter_ns()
    for model in models:
        queue.publish(model, delay=HOUR * 12)
    return perf_counter_ns() - began


def _many(queue: Queue[Order], models: list[Order]) -> int:
    began = perf_counter_ns()
    queue.publish_many(models, batch=BATCH)
    return perf_counter_ns() - began


def _claim(queue: Queue[Order], models: list[Order]) -> int:
    began = perf_counter_ns()
    for _msg in queue.consume(prefetch=1, max_messages=len(models)):
        pass
    return perf_counter_ns() - began


def _loop(queue: Queue[Order], models: list[Order]) -> int:
    began = perf_counter_ns()
    for _msg in queue.consume(max_messages=len(models)):
        pass
    return perf_counter_ns() - began


_WORK = (
    Work("publish", _one, 4_000),
    Work("publish with a delay", _later, 3_500),
    Work(f"publish_many by {BATCH}", _many, 100_000, BATCH),
    Work("claim, prefetch=1", _claim, 3_500, fills=True),
    Work("claim, in batches", _loop, 80_000, fills=True),
)
