"""``dead``: the dead letters of a queue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.json import JSON
from rich.text import Text

from typed_rmq import DeadLetter

from .common import (
    ExitCode,
    JsonFlag,
    Model,
    QueueName,
    RedisUrl,
    ShowPayloads,
    Target,
    Yes,
    confirmed,
    guarded,
)
from .output import (
    Column,
    Value,
    clock,
    json_line,
    one_line,
    say,
    screen,
    show,
    visible,
    write_line,
)
from .payloads import payload_bytes, payload_fields, payload_text

__all__ = ["app"]

app: typer.Typer = typer.Typer(
    name="dead",
    help="Dead letters: read why messages were given up, send them round again, delete them.",
    no_args_is_help=True,
)

COLUMNS: Final = (
    Column("id", "id", "id"),
    Column("died_at", "died", "time"),
    Column("attempts", "attempts", "count"),
    Column("reason", "reason"),
    Column("error", "error"),
)

MessageId = Annotated[str, typer.Argument(metavar="ID", help="The message's id.")]
Reason = Annotated[
    str | None,
    typer.Option(
        "--reason", metavar="TEXT", help="Only those with this text in their reason or error."
    ),
]


@app.command("list")
@guarded
def list_(
    queue: QueueName,
    redis: RedisUrl = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="How many at most; 0 for all.")
    ] = 50,
    reason: Reason = None,
    model: Model = None,
    show_payloads: ShowPayloads = False,
    json: JsonFlag = False,
) -> int:
    """List dead letters, the oldest first."""
    target = Target(redis)
    with target.typed(queue, model) as one:
        letters: list[DeadLetter[object]] = []
        more = False
        for letter in one.dead:
            if not _matches(letter, reason):
                continue
            if limit and len(letters) == limit:
                more = True
                break
            letters.append(letter)
        if not letters and target.missing(one):
            return ExitCode.PARTLY
    if json:
        show(COLUMNS, (), as_json=True)
        for letter in letters:
            write_line(json_line(_record(letter, show_payloads)))
        return ExitCode.DONE
    if not letters:
        say(f"no dead letters in {queue}" if reason is None else "none of this reason")
        return ExitCode.DONE
    columns = (*COLUMNS, Column("payload", "payload")) if show_payloads else COLUMNS
    show(columns, (_row(letter) for letter in letters), as_json=False)
    if more:
        say(f"there are more: --limit 0 shows all {queue} has")
    return ExitCode.DONE


@app.command("show")
@guarded
def show_(
    queue: QueueName,
    message_id: MessageId,
    redis: RedisUrl = None,
    model: Model = None,
    show_payloads: ShowPayloads = False,
    json: JsonFlag = False,
) -> int:
    """Show one dead letter: why it died, its last exception with the traceback, its headers."""
    target = Target(redis)
    with target.typed(queue, model) as one:
        letter = one.dead.get(message_id)
        if letter is None:
            if not target.missing(one):
                say(f"{queue} has no dead letter {message_id!r}")
            return ExitCode.PARTLY
    if json:
        write_line(json_line(_record(letter, show_payloads)))
        return ExitCode.DONE
    console = screen()
    lines: list[tuple[str, str]] = [
        ("id", letter.id),
        ("reason", one_line(letter.reason)),
        ("error", one_line(letter.error or "–")),  # noqa: RUF001
        ("attempts", str(letter.attempts)),
        ("published", clock(letter.published_at) if letter.published_at else "unknown"),
        ("died", clock(letter.died_at)),
    ]
    lines += [(f"header {one_line(name)}", one_line(v)) for name, v in letter.headers.items()]
    for title, value in lines:
        console.print(Text.assemble((f"{title}: ", "bold"), value), soft_wrap=True)
    if letter.traceback:
        console.print(Text("traceback:", style="bold"))
        console.print(Text(visible(letter.traceback.rstrip(), keep="\n")), soft_wrap=True)
    if not show_payloads:
        size = f"{len(letter.raw)} bytes, hidden; --show-payloads shows it"
        console.print(Text.assemble(("payload: ", "bold"), size), soft_wrap=True)
        return ExitCode.DONE
    console.print(Text("payload:", style="bold"))
    data = payload_bytes(letter)
    if data is None or not console.is_terminal:
        console.print(Text(visible(payload_text(letter))), soft_wrap=True)
    else:
        console.print(JSON(data.decode("utf-8", "replace"), ensure_ascii=True), soft_wrap=True)
    return ExitCode.DONE


@app.command("redrive")
@guarded
def redrive(
    queue: QueueName,
    message_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Ids of messages.", show_default=False),
    ] = None,
    redis: RedisUrl = None,
    all_: Annotated[bool, typer.Option("--all", help="All dead letters of the queue.")] = False,
    reason: Reason = None,
    model: Model = None,
    window: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="SECONDS",
            help="How long each takes its dedup key back for. Left out: the window of the queue.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Put dead letters back in the queue as new, with all their attempts.

    One whose dedup key belongs to a newer message stays where it is: exit code 3.
    """
    target = Target(redis)
    ids = list(message_ids or ())
    if sum((bool(ids), all_, reason is not None)) != 1:
        raise typer.BadParameter("give ids, or --reason, or --all")
    with target.typed(queue, model, window=window) as one:
        if reason is not None:
            ids = [letter.id for letter in one.dead if _matches(letter, reason)]
        before = one.dead.count()
        if not before and target.missing(one):
            return ExitCode.PARTLY
        asked = before if all_ else len(set(ids))
        done = one.dead.redrive(*ids) if ids else (one.dead.redrive() if all_ else 0)
    say(f"{done} of {asked} dead letters are back in {queue}")
    return ExitCode.DONE if done >= asked else ExitCode.PARTLY


@app.command("purge")
@guarded
def purge(queue: QueueName, redis: RedisUrl = None, yes: Yes = False) -> int:
    """Delete all dead letters of a queue."""
    target = Target(redis)
    with target.queue(queue) as one:
        count = one.dead.count()
        if not count and target.missing(one):
            return ExitCode.PARTLY
        if count and not confirmed(f"Delete {count:,} dead letters of {queue}?", yes=yes):
            return ExitCode.FAILED
        say(f"{one.dead.purge():,} dead letters of {queue} deleted")
    return ExitCode.DONE


@app.command("export")
@guarded
def export(
    queue: QueueName,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to; - for standard output.")
    ] = Path("-"),
    redis: RedisUrl = None,
    reason: Reason = None,
    model: Model = None,
    payloads_only: Annotated[
        bool,
        typer.Option(
            "--payloads-only",
            help="Only the payloads, one a line, as `publish` reads them.",
        ),
    ] = False,
) -> int:
    """Write dead letters with their payloads as NDJSON, the oldest first.

    A file is made readable for this user only, and an existing one is not overwritten.
    """
    target = Target(redis)
    count = unreadable = 0
    with target.typed(queue, model) as one:
        to_stdout = str(file) == "-"
        out = None if to_stdout else os.fdopen(_made(file), "w", encoding="utf-8")
        try:
            for letter in one.dead:
                if not _matches(letter, reason):
                    continue
                line = json_line(_record(letter, show_payloads=True))
                if payloads_only:
                    data = payload_bytes(letter)
                    if data is None:
                        unreadable += 1
                        continue
                    line = data.decode("utf-8", "backslashreplace")
                count += 1
                if out is None:
                    write_line(line)
                else:
                    out.write(line + "\n")
        finally:
            if out is not None:
                out.close()
        if not count and not unreadable and target.missing(one):
            return ExitCode.PARTLY
    left_out = f", {unreadable} left out, as they cannot be read" if unreadable else ""
    say(f"{count} dead letters of {queue} exported{left_out}")
    return ExitCode.PARTLY if unreadable else ExitCode.DONE


def _made(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _matches(letter: DeadLetter[object], reason: str | None) -> bool:
    return reason is None or reason in letter.reason or reason in (letter.error or "")


def _row(letter: DeadLetter[object]) -> dict[str, Value]:
    row: dict[str, Value] = {column.key: getattr(letter, column.key) for column in COLUMNS}
    row["payload"] = payload_text(letter)
    return row


def _record(letter: DeadLetter[object], show_payloads: bool) -> dict[str, object]:
    return {
        "id": letter.id,
        "reason": letter.reason,
        "error": letter.error,
        "traceback": letter.traceback,
        "attempts": letter.attempts,
        "published_at": letter.published_at,
        "died_at": letter.died_at,
        "headers": letter.headers,
        **(payload_fields(letter) if show_payloads else {}),
    }
