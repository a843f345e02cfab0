"""Many consumers of one queue: who gets work, how fast it goes, and who is woken for it."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from typed_rmq import Connection, Queue

from ..machine import Address, Server
from ..payload import Order, Orders
from ..slices import Figure
from .sizes import Sizes
from .watching import TIMEOUT, Pipe, hush, receive, spawn

__all__ = ["crowds"]

QUEUE = "bench-crowd"
PROCESSES = 4
SHARE = 25
"""Consumers of a process, until there are so many processes."""
REST = 0.012
"""Seconds between messages that come one at a time: what lingers of the last one is over."""


@dataclass(frozen=True)
class Seen:
    """What a crowd did in one phase; ``counts``: messages of each consumer."""

    counts: list[int]
    seconds: float
    requests: int

    @property
    def working(self) -> int:
        return sum(count > 0 for count in self.counts)

    @property
    def rate(self) -> float:
        return sum(self.counts) / self.seconds

    @property
    def each(self) -> float:
        """Requests a message."""
        return self.requests / sum(self.counts)


@dataclass(frozen=True)
class Measured:
    """One crowd, in its three phases; ``latencies`` in microseconds, of single messages."""

    size: int
    burst: Seen
    singles: Seen
    latencies: list[float]
    work: Seen


def crowds(server: Server, orders: Orders, sizes: Sizes) -> list[Figure]:
    """Each crowd in turn, on the same server."""
    found = [_measure(server, orders, sizes, size) for size in sizes.crowds]
    one, many = found[0], found[-1]
    figures: list[Figure] = []
    for crowd in found:
        who = f"{crowd.size} consumers" if crowd.size > 1 else "1 consumer"
        figures += [
            Figure(
                f"{who}: messages without work",
                crowd.burst.rate,
                unit="/s",
                detail=f"{sum(crowd.burst.counts):,} in {crowd.burst.seconds:.2f} s, "
                f"{crowd.burst.each:.4f} requests a message",
            ),
            Figure(
                f"{who}: messages of {sizes.work * 1000:g} ms, of what so many can do",
                crowd.work.rate / (crowd.size / sizes.work) * 100,
                unit="%",
                detail=f"{crowd.work.rate:,.0f}/s; {min(crowd.work.counts)} to "
                f"{max(crowd.work.counts)} messages for each consumer, "
                f"{crowd.work.each:.2f} requests a message",
            ),
            Figure(
                f"{who}: from `publish` to the loop's body, median",
                statistics.median(crowd.latencies),
                unit="µs",
                detail=f"{len(crowd.latencies)} messages one at a time, the slowest "
                f"{max(crowd.latencies):,.0f} µs; {crowd.singles.each:.2f} requests a message",
            ),
        ]
    return [
        *figures,
        Figure(
            f"of {many.size} consumers, had work when messages took time",
            many.work.working,
            unit="consumers",
            goal=many.size,
            detail=f"{many.burst.working} had some of what took none, and {many.singles.working} "
            "of what came one at a time: Redis wakes who has waited longest",
        ),
        Figure(
            f"requests for a message that wakes one of {many.size} consumers / the only one",
            many.singles.each / one.singles.each,
            goal=1.5,
            at_most=True,
            detail=f"{many.singles.each:.2f}, only one {one.singles.each:.2f}: a herd would be "
            f"{many.size}; the idle ones' own requests are in it",
        ),
        Figure(
            f"messages without work, {many.size} consumers / 1",
            many.burst.rate / one.burst.rate,
            detail="all consumers share one core here",
        ),
    ]


def _measure(server: Server, orders: Orders, sizes: Sizes, size: int) -> Measured:
    with Queue[Order](QUEUE, server.address.url) as queue, _crowd(server, size) as crowd:
        # First of all, as consumers have learnt nothing yet of how long a message takes.
        work = crowd.at_once(queue, orders.models(sizes.each * size), sizes.work)
        singles, latencies = crowd.one_by_one(queue, orders.models(sizes.singles))
        burst = crowd.at_once(queue, orders.models(sizes.burst), 0)
        if queue.stats().ready:
            raise RuntimeError("messages were left over")
    return Measured(size, burst, singles, latencies, work)


class _Crowd:
    """``size`` consumers in a few processes, on the client's core."""

    def __init__(self, server: Server, pipes: list[Pipe], size: int) -> None:
        self._server = server
        self._pipes = pipes
        self._size = size
        self._before = 0

    def wait_until_idle(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self._server.info("clients")["blocked_clients"] != self._size:
            if time.monotonic() > deadline:
                raise RuntimeError("the consumers did not come to rest")
            time.sleep(0.02)

    def at_once(self, queue: Queue[Order], models: list[Order], work: float) -> Seen:
        """All messages are there when the consumers may begin."""
        queue.pause()
        queue.publish_many(models)
        self._begin(work)
        self._server.reset()
        began = time.monotonic_ns()
        queue.resume()
        return self._end(len(models), began, work)[0]

    def one_by_one(self, queue: Queue[Order], models: list[Order]) -> tuple[Seen, list[float]]:
        self._begin(0)
        self._server.reset()
        published: dict[int, int] = {}
        began = time.monotonic_ns()
        for model in models:
            time.sleep(REST)
            published[model.order_id] = time.monotonic_ns()
            queue.publish(model)
        seen, times = self._end(len(models), began)
        return seen, [(at - published[order_id]) / 1000 for order_id, at in times.items()]

    def _begin(self, work: float) -> None:
        self.wait_until_idle()
        for pipe in self._pipes:
            pipe.send_bytes(b"%d" % round(work * 1e6))
            receive(pipe)
        self._before = self._completed()

    def _end(self, n: int, began: int, work: float = 0) -> tuple[Seen, dict[int, int]]:
        """Waits for all of the messages, and until everybody sleeps again.

        The time is that to the beginning of the last one, and its ``work``.
        """
        deadline = time.monotonic() + TIMEOUT
        while (done := self._completed() - self._before) < n:
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {done} of {n} messages were done")
            time.sleep(0.02)
        self.wait_until_idle()
        requests = self._server.requests()
        counts: list[int] = []
        times: dict[int, int] = {}
        for pipe in self._pipes:
            pipe.send_bytes(b"tell")
            for line in receive(pipe).splitlines():
                numbers = [int(word) for word in line.split()]
                counts.append(len(numbers) // 2)
                times.update(zip(numbers[::2], numbers[1::2], strict=True))
        if sum(counts) != n or len(times) != n:
            raise RuntimeError(f"{n} messages were published, {sum(counts)} came")
        return Seen(counts, (max(times.values()) - began) / 1e9 + work, requests), times

    def _completed(self) -> int:
        # Not by stats(), which would be counted as a request.
        answer = self._server.command("HGET", f"trmq:{{{QUEUE}}}:stats", "completed")
        return int(answer) if isinstance(answer, bytes) else 0


@contextlib.contextmanager
def _crowd(server: Server, size: int) -> Iterator[_Crowd]:
    processes = max(1, min(PROCESSES, size // SHARE))
    shares = [size // processes + (number < size % processes) for number in range(processes)]
    with contextlib.ExitStack() as stack:
        pipes: list[Pipe] = []
        for share in shares:
            ours, theirs = spawn.Pipe()
            process = spawn.Process(
                target=_consume, args=(server.address, theirs, share), daemon=True
            )
            process.start()
            theirs.close()
            stack.callback(ours.close)
            stack.callback(process.join, TIMEOUT)
            stack.callback(process.terminate)
            pipes.append(ours)
        for pipe in pipes:
            receive(pipe)
        yield _Crowd(server, pipes, size)


def _consume(address: Address, pipe: Pipe, size: int) -> None:
    hush()
    asyncio.run(_consumers(address, pipe, size))


async def _consumers(address: Address, pipe: Pipe, size: int) -> None:
    seen: list[list[int]] = [[] for _ in range(size)]
    work = [0.0]

    def told() -> None:
        word = pipe.recv_bytes()
        if word == b"tell":
            lines = [b" ".join(b"%d" % number for number in mine) for mine in seen]
            pipe.send_bytes(b"\n".join(lines) + b"\n")
        else:
            for mine in seen:
                mine.clear()
            work[0] = int(word) / 1e6
            pipe.send_bytes(b"begin")

    async def consumer(mine: list[int]) -> None:
        async for msg in queue.consume(stop_on_signals=False):
            mine += (msg.payload.order_id, time.monotonic_ns())
            if work[0]:
                await asyncio.sleep(work[0])

    asyncio.get_running_loop().add_reader(pipe.fileno(), told)
    queue = Queue[Order](QUEUE, Connection(address.url))
    pipe.send_bytes(b"ready")
    await asyncio.gather(*[consumer(mine) for mine in seen])
