"""``python -m benchmarks.together``: publishing one by one, from many tasks or threads at once."""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns

from typed_rmq import Queue

from .machine import CORES, Server, facts, pin, running
from .payload import Order, Orders

__all__ = ["TASKS", "THREADS", "Row", "Together", "table"]

TASKS = (1, 10, 100)
THREADS = (1, 4, 16)
DOCS = Path(__file__).parent.parent / "docs" / "performance.md"


@dataclass
class Row:
    """One number of callers, with a figure for each round."""

    callers: int
    kind: str
    rates: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)

    def line(self) -> str:
        rate, calls = statistics.median(self.rates), statistics.median(self.calls)
        low, high = min(self.rates), max(self.rates)
        noun = self.kind if self.callers > 1 else self.kind.removesuffix("s")
        return (
            f"| {self.callers} {noun} | {rate:,.0f}/s ({low:,.0f} to {high:,.0f}) | {calls:.3f} |"
        )


class Together:
    """Callers that publish in turn, each the next one when the one before was answered."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._orders = Orders()
        self._queue = Queue[Order]("bench", server.address.url)
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.run(self._queue.aclose())
        self._runner.close()

    def rows(
        self, rounds: int, seconds: float, tasks: Sequence[int], threads: Sequence[int]
    ) -> list[Row]:
        """The first round only warms up."""
        rows = [Row(n, "tasks") for n in tasks] + [Row(n, "threads") for n in threads]
        sizes = dict.fromkeys(range(len(rows)), 500)
        for number in range(-1, rounds):
            for index, row in enumerate(rows):
                run = self._tasks if row.kind == "tasks" else self._threads
                share = max(1, sizes[index] // row.callers)
                n = share * row.callers
                self._server.reset()
                took = run([self._orders.models(share) for _ in range(row.callers)])
                calls = self._server.calls()
                self._server.empty()
                rate = n / took * 1e9
                sizes[index] = max(row.callers, round(rate * seconds))
                if number >= 0:
                    row.rates.append(rate)
                    row.calls.append(sum(calls.get(c, (0, 0.0))[0] for c in _SENT) / n)
        return rows

    def _tasks(self, shares: list[list[Order]]) -> int:
        publish = self._queue.apublish

        async def caller(orders: list[Order]) -> None:
            for order in orders:
                await publish(order)

        async def all_of_them() -> int:
            began = perf_counter_ns()
            async with asyncio.TaskGroup() as group:
                for share in shares:
                    group.create_task(caller(share))
            return perf_counter_ns() - began

        return self._runner.run(all_of_them())

    def _threads(self, shares: list[list[Order]]) -> int:
        publish = self._queue.publish
        gate = threading.Barrier(len(shares) + 1)

        def caller(orders: list[Order]) -> None:
            gate.wait()
            for order in orders:
                publish(order)

        threads = [threading.Thread(target=caller, args=(share,)) for share in shares]
        for thread in threads:
            thread.start()
        gate.wait()
        began = perf_counter_ns()
        for thread in threads:
            thread.join()
        return perf_counter_ns() - began


_SENT = ("evalsha", "eval")


def table(rows: Sequence[Row]) -> list[str]:
    """For the docs, and to read."""
    return [
        "| callers at once | messages, all of them together | calls a message |",
        "|---|---|---|",
        *(row.line() for row in rows),
    ]


def replace_in_docs(lines: Sequence[str], path: Path, name: str = "together") -> None:
    """The table between the marks of that name."""
    text = path.read_text("utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, also, after = rest.partition(end)
    if not (found and also):
        raise SystemExit(f"{path.name} has no place for the table: {begin} ... {end}")
    path.write_text("\n".join([before + begin, "", *lines, "", end]) + after, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.together", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a slice (default: 0.4)")
    parser.add_argument("--save", action="store_true", help="write the table into the docs")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with running(None) as server:
        if CORES:
            pin(CORES[1])
        print(", ".join(f"{name} {fact}" for name, fact in facts(server).items()))
        together = Together(server)
        try:
            rows = together.rows(options.rounds, options.seconds, TASKS, THREADS)
        finally:
            together.close()
    lines = table(rows)
    print("\n".join(lines))
    if options.save:
        replace_in_docs(lines, DOCS)


if __name__ == "__main__":
    main()
