"""Runs the demo: ``python -m examples.demo``. The exit code is 0 only where the sums add up."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from examples.data.generate import ORDERS
from examples.models import DISCONTINUED, Order
from typed_rmq import Queue
from typed_rmq.embedded import start

from .processes import Child, Family
from .screen import Screen, show_table
from .settings import LEASE, order_queue
from .tally import Evidence, Journals, check

__all__ = ["Demo", "conclude", "main"]

PUBLISH_PAUSE = 0.0025
"""Seconds between two orders of one publisher: fast, and still to be watched."""
WORK = 0.004
"""Seconds that a worker spends on an order."""
STALL_AFTER = 1 / 12
"""The part of all lines after which, in its own deliveries, the third worker is killed."""
TIME_LIMIT = 120.0
"""Seconds after which the demo gives up and says what is missing; it takes some seven on an idle
machine."""
LOOK_EVERY = 0.05
LOG_EVERY = 0.25
MOST = 1_000
"""As many messages as one look shows."""


class Completions:
    """The queue's own log of completions, read as it grows: one look shows the newest 1,000."""

    def __init__(self, queue: Queue[Order]) -> None:
        self._queue = queue
        self._seen: set[tuple[str, datetime | None]] = set()
        self._next = 0.0

    def look(self, *, now: bool = False) -> None:
        """Read what is new, every now and then."""
        if now or time.monotonic() >= self._next:
            self._next = time.monotonic() + LOG_EVERY
            for seen in self._queue.peek(MOST, state="done"):
                self._seen.add((seen.id, seen.finished_at))

    @property
    def message_ids(self) -> tuple[str, ...]:
        """An id for each completion: twice the same if a message was completed twice."""
        return tuple(message_id for message_id, _ in self._seen)


class Demo:
    """One run, on the Redis behind ``url``; ``folder`` holds the children's journals."""

    def __init__(self, folder: Path, url: str, orders: Path, console: Console) -> None:
        self._lines = orders.read_text(encoding="utf-8").splitlines()
        self._orders = orders
        self._screen = Screen(console, len(self._lines))
        self._family = Family(folder, url)
        self._journals = Journals()
        self._held_at_kill: frozenset[str] = frozenset()
        self._deadline = time.monotonic() + TIME_LIMIT
        self.problems: list[str] = []

    def run(self, queue: Queue[Order]) -> Evidence:
        """The whole course of events, up to the evidence."""
        completions = Completions(queue)
        stall_at = max(1, int(len(self._lines) * STALL_AFTER))
        with self._screen.running(), self._family.at_home():
            workers = [
                self._worker("worker-1", "sync"),
                self._worker("worker-2", "async"),
                victim := self._worker("worker-3", "sync", "--stall-at", str(stall_at)),
            ]
            publishers = [self._publisher("publisher-1", "sync", 0)]
            publishers.append(self._publisher("publisher-2", "async", 1))
            self._screen.note(
                f"{len(publishers)} publishers and {len(workers)} workers, each a process,"
                f" over {len(self._lines):,} lines"
            )
            while not self._finished(queue, publishers, victim):
                self._look()
                completions.look()
                if self._journals.stalled is not None and not victim.killed:
                    self._kill(victim, queue)
                if self._family.faults:
                    break
                if time.monotonic() > self._deadline:
                    self.problems.append(f"not finished after {TIME_LIMIT:.0f} s")
                    break
                time.sleep(LOOK_EVERY)
        self._read_journals()
        completions.look(now=True)
        self.problems += self._family.faults
        return self._evidence(queue, victim, completions.message_ids)

    def _worker(self, name: str, mode: str, *options: str) -> Child:
        return self._family.start("worker", name, mode, "--pause", str(WORK), *options)

    def _publisher(self, name: str, mode: str, share: int) -> Child:
        options = ("--orders", str(self._orders), "--share", str(share))
        return self._family.start("publisher", name, mode, "--pause", str(PUBLISH_PAUSE), *options)

    def _look(self) -> None:
        self._read_journals()
        states = {child.name: child.state for child in self._family.children}
        self._screen.progress(self._journals, states)

    def _read_journals(self) -> None:
        for child in self._family.children:
            self._journals.add(child.journal.new_entries())

    def _kill(self, victim: Child, queue: Queue[Order]) -> None:
        stalled = self._journals.stalled
        victim.kill()
        # The lease still stands, so everything that the worker held is still in its name.
        in_flight = queue.peek(MOST, state="in_flight")
        owner = next((seen.consumer for seen in in_flight if seen.id == stalled), None)
        self._held_at_kill = frozenset(
            seen.id for seen in in_flight if owner is not None and seen.consumer == owner
        )
        self._screen.note(
            f"{victim.name} killed with -9 in the middle of an order; it held"
            f" {len(self._held_at_kill)} messages, which the others get after"
            f" its lease of {LEASE:.0f} s"
        )

    def _finished(self, queue: Queue[Order], publishers: list[Child], victim: Child) -> bool:
        if not victim.killed or any(child.running for child in publishers):
            return False
        return _left_over(queue) == 0

    def _evidence(self, queue: Queue[Order], victim: Child, done: tuple[str, ...]) -> Evidence:
        stats = queue.stats()
        return Evidence(
            journals=self._journals,
            lines_in_file=len(self._lines),
            fulfillable=_fulfillable(self._lines),
            done=done,
            dead={letter.id: letter.reason for letter in queue.dead},
            held_at_kill=self._held_at_kill,
            killed=victim.name,
            counters={
                "published": stats.published,
                "duplicates": stats.duplicates,
                "completed": stats.completed,
                "dead_lettered": stats.dead_lettered,
            },
            left_over=_left_over(queue),
        )


def _left_over(queue: Queue[Order]) -> int:
    stats = queue.stats()
    return stats.ready + stats.delayed + stats.in_flight


def _fulfillable(lines: list[str]) -> frozenset[str]:
    """The orders that must be processed in the end, read from the file alone."""
    found: set[str] = set()
    for line in lines:
        try:
            order = Order.model_validate_json(line)
        except ValidationError:
            continue
        if order.sku not in DISCONTINUED:
            found.add(order.order_id)
    return frozenset(found)


def main() -> int:
    parser = argparse.ArgumentParser(description="typed_rmq at work, with a kill -9 on the way.")
    parser.add_argument("--orders", type=Path, default=ORDERS, help="a file of orders, NDJSON")
    orders: Path = parser.parse_args().orders
    console = Console(soft_wrap=not sys.stdout.isatty())
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trmq-demo-")))
            server = stack.enter_context(start(folder / "redis"))
            queue = stack.enter_context(order_queue(server.url))
            demo = Demo(folder, server.url, orders, console)
            evidence = demo.run(queue)
            show_table(console, evidence)
            problems = demo.problems + check(evidence)
    except KeyboardInterrupt:
        console.print("Interrupted: all processes and files of the demo are gone.")
        return 130
    return conclude(console, problems, time.monotonic() - started)


def conclude(console: Console, problems: list[str], seconds: float) -> int:
    """Say whether the sums add up; the exit code."""
    if problems:
        console.print("The sums do not add up:", style="bold red")
        for problem in problems:
            console.print(f"  - {problem}", markup=False, highlight=False)
        return 1
    console.print(
        f"The sums add up: read = refused + duplicates + published,"
        f" published = processed once + dead. {seconds:.1f} s.",
        style="green",
        highlight=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
