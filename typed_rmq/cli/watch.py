"""``stats --watch``: a live screen with rates and sparklines; lines where there is no terminal."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from typed_rmq import Queue, QueueStats, QueueUnavailable

from .common import ExitCode, Target, address
from .output import Column, Value, age, clock, json_line, one_line, screen, spark, table, write_line

__all__ = ["Board", "watch"]

WINDOW: Final = 60
"""Looks that a sparkline goes back."""
RATE_OVER: Final = 5
"""Looks that a rate is taken over: fewer would flicker."""
LIST_EVERY: Final = 10.0
"""Seconds between two searches for new queues: each walks over all keys."""

NUMBERS: Final = 86
"""Columns of the terminal that all but the names and the sparklines take."""

COLUMNS: Final = (
    Column("queue", "queue", style="bold"),
    Column("ready", "ready", "count"),
    Column("trend", "trend", "id", "cyan"),
    Column("delayed", "delayed", "count"),
    Column("in_flight", "in flight", "count"),
    Column("dead", "dead", "count", "red"),
    Column("oldest_age", "oldest", "age"),
    Column("consumers", "consumers", "count"),
    Column("published_rate", "in/s", "rate"),
    Column("completed_rate", "out/s", "rate"),
    Column("work", "trend", "id", "green"),
    Column("failed_rate", "failed/s", "rate"),
)


class History:
    """What was seen of one queue, and the rates that follow."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, QueueStats]] = deque(maxlen=WINDOW + 1)

    def add(self, now: float, stats: QueueStats) -> None:
        self.seen.append((now, stats))

    def row(self, name: str, width: int) -> dict[str, Value]:
        """The line of the screen, and the record of ``--json``."""
        stats = self.seen[-1][1]
        return {
            "queue": f"{name} (paused)" if stats.paused else name,
            "ready": stats.ready,
            "delayed": stats.delayed,
            "in_flight": stats.in_flight,
            "dead": stats.dead,
            "oldest_age": stats.oldest_age,
            "consumers": stats.consumers,
            "published_rate": self._rate("published"),
            "completed_rate": self._rate("completed"),
            "failed_rate": self._rate("failed"),
            "trend": spark([seen.ready for _, seen in self.seen], width),
            "work": spark(self._steps("completed"), width),
        }

    def _rate(self, counter: str) -> float:
        seen = list(self.seen)[-RATE_OVER - 1 :]
        (began, first), (ended, last) = seen[0], seen[-1]
        if ended <= began:
            return 0.0
        # Counters only grow, unless somebody deleted the queue.
        return max(0, _counter(last, counter) - _counter(first, counter)) / (ended - began)

    def _steps(self, counter: str) -> list[float]:
        values = [_counter(seen, counter) for _, seen in self.seen]
        return [max(0, after - before) for before, after in pairwise(values)]


def _counter(stats: QueueStats, name: str) -> int:
    return int(getattr(stats, name))


class Board:
    """The queues that are watched."""

    def __init__(self, target: Target, names: Sequence[str] | None) -> None:
        self._target = target
        self._fixed = names is not None
        self._queues: dict[str, Queue[object]] = {}
        self._histories: dict[str, History] = {}
        self._listed = float("-inf")
        self._answered = time.monotonic()
        self.trouble: str | None = None
        for name in names or ():
            self._open(name)

    def _open(self, name: str) -> None:
        if name not in self._queues:
            self._queues[name] = self._target.queue(name)
            self._histories[name] = History()

    def look(self) -> list[dict[str, Value]]:
        """One look at every queue.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        now = time.monotonic()
        if not self._fixed and now - self._listed >= LIST_EVERY:
            self._listed = now
            for name in self._target.names():
                self._open(name)
        for name in sorted(self._queues):
            self._histories[name].add(time.monotonic(), self._queues[name].stats())
        self._answered = time.monotonic()
        self.trouble = None
        return self.rows()

    def rows(self, width: int = 20) -> list[dict[str, Value]]:
        """What was seen last; ``width`` is that of a sparkline."""
        return [
            history.row(name, width)
            for name, history in sorted(self._histories.items())
            if history.seen
        ]

    @property
    def names(self) -> list[str]:
        """The queues that are watched."""
        return list(self._queues)

    def note_trouble(self, error: QueueUnavailable) -> None:
        """Redis does not answer: keep what was seen, and say so."""
        silent = age(time.monotonic() - self._answered)
        self.trouble = f"no answer for {silent}: {one_line(str(error))}"

    def close(self) -> None:
        for queue in self._queues.values():
            queue.close()


def watch(target: Target, names: Sequence[str] | None, interval: float, *, as_json: bool) -> int:
    """Look again and again until Ctrl-C, which is how one leaves: exit code 0."""
    board = Board(target, names)
    try:
        if screen().is_terminal and not as_json:
            _screen(board, target, interval)
        else:
            _lines(board, interval, as_json=as_json)
    except KeyboardInterrupt:
        pass
    finally:
        board.close()
    return ExitCode.DONE


def _screen(board: Board, target: Target, interval: float) -> None:
    # What the library logs would be written over the screen; the board says it itself.
    logging.getLogger("typed_rmq").handlers[:] = [logging.NullHandler()]
    pause = threading.Event()
    with Live(console=screen(), screen=True, auto_refresh=False) as live:
        while True:
            try:
                board.look()
            except QueueUnavailable as error:
                board.note_trouble(error)
            live.update(_page(board, target, interval), refresh=True)
            pause.wait(interval)


def _page(board: Board, target: Target, interval: float) -> Group:
    head = Table.grid(expand=True)
    head.add_column()
    head.add_column(justify="right", no_wrap=True)
    head.add_row(
        Text(f"typed-rmq at {address(target.url)}", style="bold"),
        Text(f"every {interval:g} s, Ctrl-C ends", style="dim"),
    )
    names = max((len(row) for row in board.names), default=0)
    # What the numbers leave of the line goes to the two sparklines.
    rows = board.rows(max(5, min(WINDOW, (screen().width - names - NUMBERS) // 2)))
    parts: list[Table | Text] = [head, Text()]
    if board.trouble:
        parts += [Text(board.trouble, style="bold red"), Text()]
    parts.append(table(COLUMNS, rows) if rows else Text("no queues yet"))
    return Group(*parts)


def _lines(board: Board, interval: float, *, as_json: bool) -> None:
    columns = [column for column in COLUMNS if column.key not in ("trend", "work")]
    if not as_json:
        write_line("\t".join(("time", *(column.title for column in columns))))
    pause = threading.Event()
    while True:
        at = time.time()
        for row in board.look():
            del row["trend"], row["work"]
            if as_json:
                write_line(json_line({"time": round(at, 3), **row}))
            else:
                write_line("\t".join((_stamp(at), *(_cell(row[key.key]) for key in columns))))
        pause.wait(interval)


def _stamp(at: float) -> str:
    from datetime import UTC, datetime

    return clock(datetime.fromtimestamp(at, UTC))


def _cell(value: Value) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
