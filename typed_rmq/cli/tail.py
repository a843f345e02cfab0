"""``tail``: follow what completes and what fails.

Redis is looked at again and again; nothing is taken, and nothing is written. Completions are seen
one by one where the queue keeps a log of them (``keep_done``); else they are counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Final, NamedTuple

import typer
from rich.text import Text

from typed_rmq import Peeked, Queue, QueueStats

from .common import ExitCode, JsonFlag, QueueName, RedisUrl, Target, guarded
from .output import age, clock, json_line, one_line, say, screen, write_line

__all__ = ["tail"]

MOST: Final = 1000
"""Messages that one look shows."""

STYLES: Final = {"completed": "green", "failed": "yellow", "dead": "red", "missed": "dim"}


class Happened(NamedTuple):
    """One line."""

    at: datetime
    what: str
    id: str | None
    details: dict[str, object]

    def text(self) -> str:
        """For people, and for a pipe."""
        details = self.details
        match self.what:
            case "completed" if self.id is None:
                return f"{details['count']} messages"
            case "completed":
                return f"in {age(float(str(details['duration'])))}, attempt {details['attempt']}"
            case "failed":
                return f"attempt {details['attempt']}, again at {details['again']}"
            case "missed":
                return f"{details['count']} more than one look shows"
            case _:
                return f"after {details['attempt']} attempts: {details['reason']}"


class Follower:
    """Finds what is new since the last look."""

    def __init__(self, queue: Queue[object]) -> None:
        self._queue = queue
        self._stats = queue.stats()
        self._done = {_key(item) for item in queue.peek(MOST, "done")}
        self._dead = {_key(item) for item in queue.peek(MOST, "dead")}
        self._retries = {(item.id, item.attempt) for item in queue.peek(MOST, "delayed")}
        self.logs: bool = self._stats.done > 0

    def look(self) -> list[Happened]:
        """What happened meanwhile, in its order."""
        before, after = self._stats, self._queue.stats()
        self._stats = after
        found = [*self._completed(before, after), *self._died(before, after)]
        if after.retried > before.retried:
            found += self._retried()
        return sorted(found, key=lambda one: one.at)

    def _completed(self, before: QueueStats, after: QueueStats) -> Iterator[Happened]:
        count = after.completed - before.completed
        if count <= 0:
            return
        items = self._queue.peek(MOST, "done") if after.done else []
        self.logs = bool(items)
        if not items:
            yield Happened(_now(), "completed", None, {"count": count})
            return
        new = [item for item in items if _key(item) not in self._done]
        self._done = {_key(item) for item in items}
        for item in new:
            details: dict[str, object] = {"duration": item.duration, "attempt": item.attempt}
            yield Happened(item.finished_at or _now(), "completed", item.id, details)
        if len(new) == MOST and count > MOST:
            yield Happened(_now(), "missed", None, {"count": count - MOST})

    def _died(self, before: QueueStats, after: QueueStats) -> Iterator[Happened]:
        if after.dead_lettered == before.dead_lettered:
            return
        items = self._queue.peek(MOST, "dead")
        for item in items:
            if _key(item) not in self._dead:
                details: dict[str, object] = {
                    "attempt": item.attempt,
                    "reason": one_line(item.reason or ""),
                }
                yield Happened(item.finished_at or _now(), "dead", item.id, details)
        self._dead = {_key(item) for item in items}

    def _retried(self) -> Iterator[Happened]:
        items = self._queue.peek(MOST, "delayed")
        for item in items:
            if item.attempt > 1 and (item.id, item.attempt) not in self._retries:
                again = clock(item.due_at) if item.due_at else "once"
                details: dict[str, object] = {"attempt": item.attempt - 1, "again": again}
                yield Happened(_now(), "failed", item.id, details)
        self._retries = {(item.id, item.attempt) for item in items}


@guarded
def tail(
    queue: QueueName,
    redis: RedisUrl = None,
    interval: Annotated[
        float, typer.Option(min=0.05, max=60, metavar="SECONDS", help="How often to look.")
    ] = 0.5,
    duration: Annotated[
        float | None,
        typer.Option(
            "--for", min=0, metavar="SECONDS", help="End after so long.", show_default=False
        ),
    ] = None,
    json: JsonFlag = False,
) -> int:
    """Follow completions, failed attempts, and dead letters as they happen; Ctrl-C ends it.

    Completions come one by one only where the queue has a log of them (`keep_done`).
    """
    target = Target(redis)
    end = None if duration is None else time.monotonic() + duration
    pause = threading.Event()
    with target.queue(queue) as one:
        try:
            follower = Follower(one)
            if not any((follower.logs, one.stats().published)):
                target.missing(one)
            told = False
            while end is None or time.monotonic() < end:
                pause.wait(interval)
                for happened in follower.look():
                    _print(happened, as_json=json)
                    if happened.what == "completed" and happened.id is None and not told:
                        told = True
                        say(f"{queue} keeps no log of completions (keep_done=0): they are counted")
        except KeyboardInterrupt:
            pass
    return ExitCode.DONE


def _print(happened: Happened, *, as_json: bool) -> None:
    if as_json:
        record = {"at": happened.at, "what": happened.what, "id": happened.id, **happened.details}
        write_line(json_line(record))
        return
    console = screen()
    parts = (clock(happened.at), happened.what, happened.id or "", happened.text())
    if not console.is_terminal:
        write_line("\t".join(parts))
        return
    line = Text("  ".join((parts[0], parts[1].ljust(9), parts[2].ljust(24), parts[3])))
    line.stylize(STYLES.get(happened.what, ""), 21, 30)
    console.print(line, soft_wrap=True)


def _key(item: Peeked[object]) -> tuple[str, datetime | None]:
    return item.id, item.finished_at


def _now() -> datetime:
    return datetime.now(UTC)
