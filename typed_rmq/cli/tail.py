"""``tail``: follow what completes and what fails.

Redis is looked at again and again; nothing is taken, and nothing is written. Completions are seen
one by one where the queue keeps a log of them (``keep_done``); else they are counted.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Final, NamedTuple

import typer
from rich.text import Text

from typed_rmq import Peeked, Queue, State

from .common import ExitCode, JsonFlag, QueueName, RedisUrl, Target, guarded
from .output import age, clock, json_line, one_line, say, screen, write_line

__all__ = ["tail"]

PAGE: Final = 200
PAGES: Final = 100
"""One look shows so many completions, and so many dead letters; what is beyond is counted."""

RETRIES: Final = 1000
"""Delayed messages that one look goes through for those that wait for another attempt."""

Position = tuple[int, int]

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
                return f"{details['count']} more {details['of']}, not seen one by one"
            case _:
                return f"after {details['attempt']} attempts: {details['reason']}"


class Follower:
    """Finds what is new since the last look."""

    def __init__(self, queue: Queue[object]) -> None:
        self._queue = queue
        self._done = self._newest("done")
        self._dead = self._newest("dead")
        self._retries = {(item.id, item.attempt) for item in queue.peek(RETRIES, "delayed")}
        self._stats = queue.stats()
        self._ahead: Counter[str] = Counter()
        """What was seen before it was counted: Redis is asked twice, and goes on in between."""
        self.logs: bool = self._stats.done > 0

    def look(self) -> list[Happened]:
        """What happened meanwhile, in its order."""
        before, after = self._stats, self._queue.stats()
        self._stats = after
        found: list[Happened] = []
        if after.completed > before.completed:
            found += self._completed(after.completed - before.completed, after.done > 0)
        if after.dead_lettered > before.dead_lettered:
            found += self._died(after.dead_lettered - before.dead_lettered)
        if after.retried > before.retried:
            found += self._retried(after.retried - before.retried)
        return sorted(found, key=lambda one: one.at)

    def _completed(self, count: int, logged: bool) -> Iterator[Happened]:
        self.logs = logged
        if not logged:
            yield Happened(_now(), "completed", None, {"count": count})
            return
        seen, newest = 0, self._done
        for item in self._newer("done", self._done):
            seen, newest = seen + 1, max(newest, _position(item))
            details: dict[str, object] = {"duration": item.duration, "attempt": item.attempt}
            yield Happened(item.finished_at or _now(), "completed", item.id, details)
        self._done = newest
        yield from self._missed("completed", count - seen)

    def _died(self, count: int) -> Iterator[Happened]:
        seen, newest = 0, self._dead
        for item in self._newer("dead", self._dead):
            seen, newest = seen + 1, max(newest, _position(item))
            reason = one_line(item.reason or "")
            details: dict[str, object] = {"attempt": item.attempt, "reason": reason}
            yield Happened(item.finished_at or _now(), "dead", item.id, details)
        self._dead = newest
        yield from self._missed("dead", count - seen)

    def _retried(self, count: int) -> Iterator[Happened]:
        seen, items = 0, self._queue.peek(RETRIES, "delayed")
        for item in items:
            if item.attempt > 1 and (item.id, item.attempt) not in self._retries:
                seen += 1
                again = clock(item.due_at) if item.due_at else "once"
                details: dict[str, object] = {"attempt": item.attempt - 1, "again": again}
                yield Happened(_now(), "failed", item.id, details)
        self._retries = {(item.id, item.attempt) for item in items}
        yield from self._missed("failed", count - seen)

    def _missed(self, what: str, unseen: int) -> Iterator[Happened]:
        """What is counted and could not be seen one by one."""
        unseen -= self._ahead[what]
        self._ahead[what] = max(0, -unseen)
        if unseen > 0:
            yield Happened(_now(), "missed", None, {"count": unseen, "of": what})

    def _newest(self, state: State) -> Position:
        return max(map(_position, self._queue.peek(1, state)), default=(0, 0))

    def _newer(self, state: State, than: Position) -> Iterator[Peeked[object]]:
        """What came to a log since, the newest first, page by page."""
        after: Peeked[object] | None = None
        for _ in range(PAGES):
            page = self._queue.peek(PAGE, state, after=after)
            fresh = [item for item in page if _position(item) > than]
            yield from fresh
            if len(fresh) < PAGE:
                return
            after = page[-1]


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

    Completions come one by one only where the queue has a log of them (`keep_done`). What is gone
    again before it is looked at is counted in a line of its own.
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


def _position(item: Peeked[object]) -> Position:
    """Where an entry stands in a log: the time and the number of its stream id."""
    time_, _, number = item.cursor.partition("-")
    return int(time_), int(number)


def _now() -> datetime:
    return datetime.now(UTC)
