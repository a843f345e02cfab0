"""What the demo shows: live progress on a terminal, plain lines elsewhere, a table at the end."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from .tally import Evidence, Journals

__all__ = ["Row", "Screen", "rows", "show_table"]

PLAIN_EVERY = 1.0
"""Seconds between two lines where there is no terminal."""


@dataclass(frozen=True)
class Row:
    """One line of the final table; a detail is part of the sum above it."""

    what: str
    number: int
    detail: bool = False


def rows(evidence: Evidence) -> list[Row]:
    """The final table."""
    journals = evidence.journals
    reasons: dict[str, int] = {}
    for reason in evidence.dead.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    return [
        Row("lines read", journals.read),
        Row("refused", journals.refused.total()),
        *(Row(why, number, detail=True) for why, number in journals.refused.most_common()),
        Row("duplicates", journals.duplicates),
        Row("published", len(journals.published)),
        Row("processed once", len(evidence.done)),
        Row("after a retry", len(journals.failed), detail=True),
        Row("dead", len(evidence.dead)),
        *(Row(reason, number, detail=True) for reason, number in sorted(reasons.items())),
        Row("in the killed worker's hands", len(evidence.held_at_kill)),
        Row("redelivered after the crash", len(evidence.redelivered)),
        Row("deliveries in all", sum(map(len, journals.deliveries.values()))),
    ]


def show_table(console: Console, evidence: Evidence) -> None:
    """Show what became of the lines."""
    table = Table(title="What became of the lines", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=58)
    table.add_column("number", justify="right")
    table.add_column("of these", justify="right")
    for row in rows(evidence):
        number = f"{row.number:,}"
        if row.detail:
            table.add_row(f"  {row.what}", "", number, style="dim")
        else:
            table.add_row(row.what, number, "")
    console.print(table, highlight=False)


class Screen:
    """Progress while the demo runs."""

    def __init__(self, console: Console, total_lines: int) -> None:
        self._console = console
        self._total = total_lines
        self._live: Live | None = None
        self._started = self._last_plain = time.monotonic()

    @contextmanager
    def running(self) -> Generator[None]:
        """Keep the picture on the terminal for as long as this lasts."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=10, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def note(self, text: str) -> None:
        """Something that happened once."""
        seconds = time.monotonic() - self._started
        self._console.print(f"{seconds:5.1f} s  {text}", highlight=False, markup=False)

    def progress(self, journals: Journals, states: dict[str, str]) -> None:
        """The numbers now; ``states`` has one word for each process."""
        if self._live is not None:
            self._live.update(self._picture(journals, states))
        elif time.monotonic() - self._last_plain >= PLAIN_EVERY:
            self._last_plain = time.monotonic()
            self.note(
                f"published {len(journals.published):,}, refused {journals.refused.total()},"
                f" duplicates {journals.duplicates}, processed {len(journals.completed):,},"
                f" rejected {journals.rejected.total()}"
            )

    def _picture(self, journals: Journals, states: dict[str, str]) -> Table:
        handled: dict[str, int] = {}
        for names in journals.deliveries.values():
            for who in names:
                handled[who] = handled.get(who, 0) + 1
        looked_at = journals.publish_calls + journals.duplicates + journals.refused.total()
        finished = len(journals.completed) + journals.rejected.total()
        picture = Table(box=None, show_header=False, padding=(0, 2))
        picture.add_column(width=14)
        picture.add_column(width=34)
        picture.add_column(justify="right")
        picture.add_row("lines", _bar(looked_at, self._total), f"{looked_at:,} of {self._total:,}")
        picture.add_row(
            "orders",
            _bar(finished, len(journals.published)),
            f"{finished:,} of {len(journals.published):,}",
        )
        for who, state in states.items():
            number = f"{handled[who]:,} deliveries" if who in handled else ""
            picture.add_row(who, state, number)
        return picture


def _bar(part: int, whole: int, width: int = 30) -> str:
    filled = round(width * part / whole) if whole else 0
    return "█" * filled + "░" * (width - filled)
