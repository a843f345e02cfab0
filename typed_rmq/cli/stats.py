"""``stats`` and ``peek``: looking at queues."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Final

import typer

from typed_rmq import Peeked, QueueStats, State

from .common import (
    ExitCode,
    JsonFlag,
    Model,
    QueueName,
    RedisUrl,
    ShowPayloads,
    Target,
    address,
    complete_queue,
    guarded,
)
from .output import Column, Value, json_line, say, show, write_line
from .payloads import payload_fields, payload_text
from .watch import watch

__all__ = ["COLUMNS", "peek", "stats", "stats_row"]

COLUMNS: Final = (
    Column("queue", "queue", style="bold"),
    Column("ready", "ready", "count"),
    Column("delayed", "delayed", "count"),
    Column("in_flight", "in flight", "count"),
    Column("dead", "dead", "count"),
    Column("oldest_age", "oldest", "age"),
    Column("consumers", "consumers", "count"),
    Column("paused", "paused"),
    Column("published", "published", "count"),
    Column("completed", "completed", "count"),
    Column("failed", "failed", "count"),
)


def stats_row(name: str, stats: QueueStats) -> dict[str, Value]:
    """All numbers of one queue."""
    return {"queue": name, **dataclasses.asdict(stats)}


@guarded
def stats(
    queue: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUEUE]...",
            help="Names of queues. Left out: all queues of this Redis.",
            autocompletion=complete_queue,
            show_default=False,
        ),
    ] = None,
    redis: RedisUrl = None,
    watch_: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on, with rates; Ctrl-C ends it.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option(min=0.1, max=3600, metavar="SECONDS", help="How often --watch looks."),
    ] = 1.0,
    json: JsonFlag = False,
) -> int:
    """Show how many messages are where, and what happened since each queue was made."""
    target = Target(redis)
    if watch_:
        return watch(target, queue or None, interval, as_json=json)
    names = queue or target.names()
    if not names:
        say(f"no queues at {address(target.url)}")
    rows: list[dict[str, Value]] = []
    missing = False
    for name in names:
        with target.queue(name) as one:
            found = one.stats()
            # All zero: it is empty and new, or its name is misspelt.
            if queue and not any(dataclasses.astuple(found)) and target.missing(one):
                missing = True
                continue
        rows.append(stats_row(name, found))
    if rows or json:
        show(COLUMNS, rows, as_json=json)
    return ExitCode.PARTLY if missing else ExitCode.DONE


_PEEK: Final = (
    Column("id", "id", "id"),
    Column("attempt", "attempt", "count"),
    Column("priority", "priority"),
    Column("published_at", "published", "time"),
)
_BESIDE: Final[dict[State, tuple[Column, ...]]] = {
    "ready": (),
    "delayed": (Column("due_at", "due", "time"),),
    "in_flight": (Column("consumer", "consumer"),),
    "dead": (Column("finished_at", "died", "time"), Column("reason", "reason")),
    "done": (Column("finished_at", "completed", "time"), Column("duration", "took", "age")),
}
_PAYLOAD: Final = Column("payload", "payload")


@guarded
def peek(
    queue: QueueName,
    redis: RedisUrl = None,
    state: Annotated[
        State,
        typer.Option(help="Where to look."),
    ] = "ready",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="How many messages at most.")
    ] = 10,
    model: Model = None,
    show_payloads: ShowPayloads = False,
    json: JsonFlag = False,
) -> int:
    """Look at messages without taking them.

    Ready and delayed ones come in the order of their delivery, dead and done ones the newest first.
    """
    target = Target(redis)
    with target.typed(queue, model) as one:
        found = one.peek(limit, state)
        if not found and target.missing(one):
            return ExitCode.PARTLY
    if not found and not json:
        say(f"nothing is {state.replace('_', ' ')} in {queue}")
        return ExitCode.DONE
    if json:
        for item in found:
            write_line(json_line(_record(item, show_payloads)))
        return ExitCode.DONE
    columns = _PEEK + _BESIDE[state] + ((_PAYLOAD,) if show_payloads else ())
    show(columns, (_row(item) for item in found), as_json=False)
    return ExitCode.DONE


def _row(item: Peeked[object]) -> dict[str, Value]:
    row: dict[str, Value] = {
        column.key: getattr(item, column.key) for column in _PEEK + _BESIDE[item.state]
    }
    row["payload"] = payload_text(item)
    return row


def _record(item: Peeked[object], show_payloads: bool) -> dict[str, object]:
    beside = {column.key: getattr(item, column.key) for column in _BESIDE[item.state]}
    return {
        "id": item.id,
        "state": item.state,
        "attempt": item.attempt,
        "priority": item.priority,
        "published_at": item.published_at,
        "headers": item.headers,
        **beside,
        **(payload_fields(item) if show_payloads else {}),
    }
