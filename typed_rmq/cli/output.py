"""What is printed, and how: for people on a terminal, for programs in a pipe.

Rules:

* Results go to standard output, everything else (progress, questions, errors) to standard error.
* On a terminal a result is a table. In a pipe it is the same rows as tab-separated values under
  one header line, numbers plain, times in UTC. With ``--json`` it is one JSON object a line.
* No byte of what a producer or a handler wrote reaches a terminal unescaped: a reason or a header
  may hold control sequences.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "Column",
    "Rows",
    "age",
    "clock",
    "errors",
    "json_line",
    "one_line",
    "say",
    "screen",
    "show",
    "spark",
    "table",
    "visible",
    "write_line",
]

Value = str | int | float | bool | datetime | None
Rows = Iterable[Mapping[str, Value]]
Kind = Literal["text", "id", "count", "age", "time", "rate"]

BARS: Final = "▁▂▃▄▅▆▇█"


class Column(NamedTuple):
    """A column of a table: the key in each row, the title over it, and what its values are."""

    key: str
    title: str
    kind: Kind = "text"
    style: str | None = None


def screen() -> Console:
    """Standard output. Rich leaves all colours out where it is no terminal, or with NO_COLOR."""
    return Console(highlight=False, emoji=False)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, emoji=False)


def say(text: str) -> None:
    """A line for people, on standard error."""
    sys.stderr.write(f"typed-rmq: {one_line(text)}\n")
    sys.stderr.flush()


def write_line(text: str) -> None:
    """A line of a result, as it is, and at once: whoever reads the pipe waits for it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# --- values


def one_line(text: str) -> str:
    """Text without line breaks and control sequences."""
    return visible(" ".join(text.split()))


def visible(text: str, keep: str = "") -> str:
    """Text with everything that a terminal would obey, or could not show, as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if char in keep or (unicodedata.category(char) not in _UNSEEN)
        else char.encode("unicode_escape").decode()
        for char in text
    )


_UNSEEN: Final = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}


def age(seconds: float) -> str:
    """A time span as people say it."""
    if seconds < 0:
        return "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} d"


def clock(moment: datetime) -> str:
    """A moment in this machine's own time."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def spark(values: Sequence[float], width: int = 20) -> str:
    """The last ``width`` values as bars; the highest one is a full bar."""
    shown = list(values)[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return (BARS[0] * len(shown)).rjust(width)
    last = len(BARS) - 1
    return "".join(BARS[round(value / top * last)] for value in shown).rjust(width)


def _for_people(value: Value, kind: Kind) -> str:
    if value is None or value == "":
        return "–"  # noqa: RUF001
    if isinstance(value, datetime):
        return clock(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return one_line(value)
    if kind == "age":
        return age(value)
    if kind == "rate":
        return f"{value:,.1f}"
    return f"{value:,}"


def _for_programs(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return one_line(value)
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


# --- results


def json_line(record: Mapping[str, object]) -> str:
    """One JSON object in one line, ASCII only."""
    return json.dumps(record, default=_plain, separators=(",", ":"))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


def table(columns: Sequence[Column], rows: Rows) -> Table:
    """Rows as a table."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        right = column.kind in ("count", "age", "rate")
        made.add_column(
            column.title,
            justify="right" if right else "left",
            no_wrap=right or column.kind in ("id", "time"),
            overflow="fold",
            style=column.style,
        )
    for row in rows:
        made.add_row(*(Text(_for_people(row.get(key), kind)) for key, _, kind, _ in columns))
    return made


def show(columns: Sequence[Column], rows: Rows, *, as_json: bool) -> None:
    """Rows of a result, in the form that their reader wants."""
    if as_json:
        for row in rows:
            write_line(json_line(row))
        return
    console = screen()
    if console.is_terminal:
        console.print(table(columns, rows))
        return
    write_line("\t".join(column.title for column in columns))
    for row in rows:
        write_line("\t".join(_for_programs(row.get(column.key)) for column in columns))
