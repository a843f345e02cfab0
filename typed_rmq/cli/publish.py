"""``publish``: the lines of a file, each a message."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Annotated, Literal, cast

import typer
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.text import Text

from typed_rmq import ConfigError, Dedup, Priority, Queue

from .common import ExitCode, JsonFlag, QueueName, RedisUrl, Target, address, guarded, same_name
from .feed import Feed, LineKeys
from .loading import load
from .output import errors, json_line, say, write_line
from .progress import Progress, progress_file

__all__ = ["publish"]


@guarded
def publish(
    queue: QueueName,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="NDJSON: a payload a line; - for standard input.")
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODULE:NAME",
            help="The type of the payloads, or a Queue object, which brings its serializer and "
            "its deduplication.",
        ),
    ],
    redis: RedisUrl = None,
    batch: Annotated[
        int, typer.Option(min=1, max=1000, help="Lines that are sent in one round trip.")
    ] = 500,
    priority: Annotated[Priority, typer.Option(help="Of all messages.")] = "normal",
    delay: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Until they can be delivered.", show_default=False
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", metavar="NAME=VALUE", help="A header of all messages.", show_default=False
        ),
    ] = None,
    dedup_field: Annotated[
        list[str] | None,
        typer.Option(
            "--dedup-field",
            metavar="NAME",
            help="A field that makes two payloads the same message; else all of them do.",
            show_default=False,
        ),
    ] = None,
    dedup_window: Annotated[
        float,
        typer.Option(min=1, metavar="SECONDS", help="For how long equal payloads are one message."),
    ] = 3600.0,
    no_dedup: Annotated[
        bool, typer.Option("--no-dedup", help="Publish equal lines as often as they are there.")
    ] = False,
    refused: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where refused lines go, with number and reason; FILE.refused by default.",
            show_default=False,
        ),
    ] = None,
    progress: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the progress is kept; beside FILE by default.",
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin at the first line, whatever was done before.")
    ] = False,
    in_doubt: Annotated[
        Literal["ask", "resend", "skip"],
        typer.Option(
            help="What to do about the one batch that a killed run may or may not have stored, "
            "where sending it again could double it."
        ),
    ] = "ask",
    json: JsonFlag = False,
) -> int:
    """Publish a file, one message a line.

    Each line is validated; refused ones are written to a file, with number and reason. Stopped or
    killed, the same command goes on where it stopped, and nothing is doubled.
    """
    target = Target(redis)
    stdin = str(file) == "-"
    keys = LineKeys() if no_dedup else None
    one = _queue(target, queue, model, dedup_field, dedup_window, keys)
    with one:
        own = isinstance(load(model, "--model"), Queue)
        where = address(target.url)
        record = None if stdin else progress or progress_file(file, queue, where)
        state = None if record is None or restart else Progress.read(record)
        if state is not None and (state.queue, state.target) != (queue, where):
            raise ConfigError(f"{record} belongs to the queue {state.queue!r} at {state.target}")
        refused_path = refused or Path("refused" if stdin else f"{file}.refused")
        if state is None and refused_path.exists():
            refused_path.unlink()
        with _opened(file) as lines:
            feed = Feed(
                one,
                lines,
                state or Progress(queue, where),
                record=record,
                refused=refused_path,
                keys=keys,
                # Of a Queue object it is not known how long it recognizes a repetition.
                repeatable=0.0 if own else dedup_window,
                in_doubt=in_doubt,
                batch=batch,
                priority=priority,
                delay=delay,
                headers=_headers(header),
            )
            began = state.line if state else 0
            was_finished = bool(state and state.finished)
            feed.start()
            if began and not was_finished:
                say(f"going on at line {began + 1}")
            size = None if stdin else file.stat().st_size
            with _stopping(feed) as received, _bar(feed, size) as told:
                reached_end = feed.run(told)
    return _report(feed, refused_path, began, was_finished, reached_end, received, as_json=json)


def _queue(
    target: Target,
    name: str,
    model: str,
    fields: list[str] | None,
    window: float,
    keys: LineKeys | None,
) -> Queue[object]:
    found = load(model, "--model")
    if isinstance(found, Queue):
        if fields or keys or window != 3600.0:
            raise ConfigError(
                f"{model} is a Queue with a deduplication of its own: leave --dedup-field, "
                "--dedup-window, and --no-dedup out, or name its type"
            )
        return same_name(cast("Queue[object]", found), name, model)
    if keys is not None and fields:
        raise ConfigError("give either --dedup-field or --no-dedup, not both")
    dedup = (
        Dedup(key=keys, window=window)
        if keys is not None
        else Dedup(fields=tuple(fields) if fields else None, window=window)
    )
    maker: type[Queue[object]] = Queue.__class_getitem__(found)
    return maker(name, target.connection, dedup=dedup)


def _headers(given: list[str] | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise ConfigError(f"--header takes NAME=VALUE, got {one!r}")
        headers[name] = value
    return headers


@contextmanager
def _opened(file: Path) -> Generator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with file.open("rb") as lines:
        yield lines


@contextmanager
def _stopping(feed: Feed) -> Generator[list[int]]:
    """The first SIGINT or SIGTERM ends it after the batch under way; a second one at once."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)
        feed.stopping = True
        if len(received) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _LineRate(ProgressColumn):
    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self._first = feed.progress.line

    def render(self, task: Task) -> Text:
        done = self._feed.progress.line
        rate = (done - self._first) / task.elapsed if task.elapsed else 0.0
        return Text(f"{done:,} lines  {rate:,.0f} lines/s")


@contextmanager
def _bar(feed: Feed, size: int | None) -> Generator[Callable[[int], None]]:
    """A progress bar on a terminal; what it gives is called with bytes dealt with."""
    console = errors()
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _LineRate(feed),
        TextColumn("time left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task(feed.progress.queue, total=size, completed=feed.progress.offset)
        yield lambda count: bar.advance(task, count)


def _report(
    feed: Feed,
    refused: Path,
    began: int,
    was_finished: bool,
    reached_end: bool,
    received: list[int],
    *,
    as_json: bool,
) -> int:
    progress = feed.progress
    nothing_new = was_finished and progress.line == began
    if as_json:
        record = {
            "queue": progress.queue,
            "lines": progress.line,
            "published": progress.published,
            "duplicates": progress.duplicates,
            "conflicts": progress.conflicts,
            "refused": progress.refused,
            "refused_file": str(refused) if progress.refused else None,
            "finished": reached_end,
        }
        write_line(json_line(record))
    elif nothing_new:
        say(
            f"nothing to do: all {progress.line:,} lines were published to {progress.queue} "
            "before; --restart publishes them again"
        )
    else:
        counts = f"{progress.published:,} published, {progress.duplicates:,} duplicates"
        if progress.conflicts:
            counts += f" ({progress.conflicts:,} with other content)"
        where = f", see {refused}" if progress.refused else ""
        say(f"{progress.line:,} lines: {counts}, {progress.refused:,} refused{where}")
    if not reached_end:
        say(f"stopped behind line {progress.line:,}; the same command goes on from there")
        return 128 + received[0] if received else ExitCode.FAILED
    return ExitCode.PARTLY if progress.refused and not nothing_new else ExitCode.DONE
