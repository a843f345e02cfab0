"""``demo``: orders, workers, a kill -9, dead letters, and the sums, on a server of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Final

import typer

from typed_rmq import Connection, Queue, QueueStats

from . import demo_app
from .common import ExitCode, guarded
from .demo_app import CLOSED, QUEUE, Order
from .output import Column, Value, age, screen, show

__all__ = ["demo"]

WORKERS: Final = 3
BATCH: Final = 10
TIME_LIMIT: Final = 60.0
"""Seconds after which the demo gives up on what it waits for."""

_STARTED = re.compile(r"worker (\d+) \(pid (\d+)\) started")


@guarded
def demo(
    orders: Annotated[int, typer.Option(min=20, max=100_000, help="How many orders.")] = 400,
    stay: Annotated[
        bool,
        typer.Option(
            "--stay", help="Go on until Ctrl-C, with dead letters to look into and to redrive."
        ),
    ] = False,
) -> int:
    """Watch a queue at work, with a kill -9 and dead letters, on a server of its own.

    Orders are published, three workers pack them, one of them is killed, and one warehouse is
    closed. Nothing of yours is touched, and nothing is left.
    """
    from typed_rmq.embedded import start

    with tempfile.TemporaryDirectory(prefix="trmq-demo-") as folder:
        closed = Path(folder) / "closed"
        closed.touch()
        with (
            start(Path(folder) / "data") as server,
            Connection(server.url) as connection,
            demo_app.order_queue(connection) as queue,
            _workers(server.url, closed) as workers,
        ):
            show_ = _Show(queue, workers, server.url)
            show_.publish(orders)
            problems = show_.finish(orders, closed, stay=stay)
    for problem in problems:
        screen().print(f"The sums do not add up: {problem}", markup=False, style="bold red")
    return ExitCode.FAILED if problems else ExitCode.DONE


class _Workers:
    """The worker, a process of its own, and what it says of its processes."""

    def __init__(self, said: IO[str]) -> None:
        self.pids: dict[int, int] = {}
        self.starts = 0
        self._reader = threading.Thread(target=self._read, args=(said,), daemon=True)
        self._reader.start()

    def _read(self, said: IO[str]) -> None:
        for line in said:
            if match := _STARTED.search(line):
                self.pids[int(match[1])] = int(match[2])
                self.starts += 1

    def join(self) -> None:
        self._reader.join(5)


@contextlib.contextmanager
def _workers(url: str, closed: Path) -> Generator[_Workers]:
    app = demo_app.__name__
    process = subprocess.Popen(  # noqa: S603
        [
            *(sys.executable, "-m", "typed_rmq.cli", "consume"),
            *("--handler", f"{app}:pack", "--queue", f"{app}:orders"),
            *("--processes", str(WORKERS), "--concurrency", "4", "--log-level", "error"),
        ],
        env={**os.environ, "REDIS_URL": url, CLOSED: str(closed)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C reaches the demo alone, which then ends its workers
    )
    assert process.stderr is not None
    workers = _Workers(process.stderr)
    try:
        yield workers
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        workers.join()
        process.stderr.close()


class _Show:
    """The course of events."""

    def __init__(self, queue: Queue[Order], workers: _Workers, url: str) -> None:
        self._queue = queue
        self._workers = workers
        self._url = url
        self._console = screen()
        self._began = time.monotonic()
        self._told = 0.0

    def publish(self, orders: int) -> None:
        """Publish all orders, each twice, and kill a worker on the way."""
        self._say(f"{WORKERS} worker processes pack {orders} orders, each of them published twice")
        self._until(lambda stats: stats.consumers >= WORKERS)
        killed = False
        for first in range(0, orders, BATCH):
            batch = [_order(number) for number in range(first, min(first + BATCH, orders))]
            self._queue.publish_many(batch)
            self._queue.publish_many(batch)
            time.sleep(0.05)
            self._status()
            if not killed and first >= orders // 2:
                killed = True
                self._kill()

    def _kill(self) -> None:
        victim = self._workers.pids[2]
        os.kill(victim, signal.SIGKILL)
        self._say(
            f"worker 2 (pid {victim}) is killed with -9; what it held goes to the others after "
            f"its lease of {demo_app.LEASE:g} s, and the supervisor starts a new one"
        )

    def finish(self, orders: int, closed: Path, *, stay: bool) -> list[str]:
        """Wait until all is dealt with, look at the dead letters, and add up."""
        stats = self._until(lambda s: not (s.ready or s.delayed or s.in_flight))
        problems = _sums(stats, orders)
        self._say(
            f"{stats.published} stored, {stats.duplicates} recognized as duplicates, "
            f"{stats.completed} packed, {stats.dead} dead letters"
        )
        letters: list[dict[str, Value]] = []
        for letter in islice(self._queue.dead, 3):
            why = letter.error or letter.reason
            letters.append({"id": letter.id, "attempts": letter.attempts, "reason": why})
        columns = (Column("id", "id", "id"), Column("attempts", "attempts", "count"))
        show((*columns, Column("reason", "why")), letters, as_json=False)
        closed.unlink()
        self._say("warehouse 3 opens again: what died can be redriven now")
        if stay:
            self._stay(orders)
            return problems
        back = self._queue.dead.redrive()
        self._say(f"{back} dead letters are redriven")
        stats = self._until(lambda s: not (s.ready or s.delayed or s.in_flight))
        if stats.completed != orders or stats.dead:
            problems.append(f"{stats.completed} packed, {stats.dead} dead, {orders} ordered")
        if self._workers.starts <= WORKERS:
            problems.append("no new worker was started for the killed one")
        if not problems:
            self._say(f"all {orders} orders are packed, none twice: the sums add up")
        return problems

    def _stay(self, orders: int) -> None:
        at = f"--redis {self._url}"
        self._say("this stays until Ctrl-C; meanwhile, in another terminal:")
        for command in (
            "dashboard",
            "stats --watch",
            f"dead list {QUEUE}",
            f"dead redrive {QUEUE} --all",
        ):
            self._console.print(f"    typed-rmq {command} {at}", soft_wrap=True, markup=False)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                self._queue.publish(_order(orders))
                orders += 1
                time.sleep(0.3)

    # --- telling

    def _say(self, text: str) -> None:
        at = f"{time.monotonic() - self._began:5.1f} s  "
        self._console.print(at + text, markup=False, soft_wrap=True)

    def _status(self) -> QueueStats:
        stats = self._queue.stats()
        if stats.published and time.monotonic() - self._told >= 1.0:
            self._told = time.monotonic()
            self._say(
                f"ready {stats.ready}, delayed {stats.delayed}, in flight {stats.in_flight}, "
                f"packed {stats.completed}, dead {stats.dead}, oldest {age(stats.oldest_age)}"
            )
        return stats

    def _until(self, done: Callable[[QueueStats], bool]) -> QueueStats:
        deadline = time.monotonic() + TIME_LIMIT
        while not done(stats := self._status()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing more happens after {TIME_LIMIT:g} s")
            time.sleep(0.05)
        return stats


def _order(number: int) -> Order:
    # Every eighth order is for the closed warehouse.
    return Order(order_id=number, sku=f"A-{number % 17}", warehouse=3 if number % 8 == 7 else 1)


def _sums(stats: QueueStats, orders: int) -> list[str]:
    problems: list[str] = []
    if (stats.published, stats.duplicates) != (orders, orders):
        problems.append(f"{stats.published} stored and {stats.duplicates} duplicates of {orders}")
    if stats.completed + stats.dead != stats.published:
        problems.append(f"{stats.completed} packed and {stats.dead} dead of {stats.published}")
    return problems
