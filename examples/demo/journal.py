"""What happened, as each process writes it down: one line of JSON for each event.

A line is written with one unbuffered call, so what a process did before it was killed is there.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Entry", "EventName", "Journal", "JournalReader"]

EventName = Literal[
    "read",  # a publisher: it read so many lines (at its end)
    "published",  # a publisher: the line is a message now
    "duplicate",  # a publisher: the line equals an earlier message
    "refused",  # a publisher: the line is not an order
    "delivered",  # a worker: a message reached its handler
    "completed",  # a worker: the order is fulfilled
    "rejected",  # a worker: the order cannot be fulfilled
    "failed",  # a worker: this attempt went wrong
    "stalled",  # the worker that is to be killed: now
]


class Entry(BaseModel):
    """One event in the life of one process."""

    model_config = ConfigDict(frozen=True)

    who: str
    event: EventName
    message_id: str = ""
    order_id: str = ""
    why: str = ""
    count: int = 0


class Journal:
    """The writing end: one file for each process."""

    def __init__(self, path: Path, who: str) -> None:
        self._file = path.open("ab", buffering=0)
        self._who = who

    def write(
        self,
        event: EventName,
        *,
        message_id: str = "",
        order_id: str = "",
        why: str = "",
        count: int = 0,
    ) -> None:
        """Note the event down, at once."""
        entry = Entry(
            who=self._who,
            event=event,
            message_id=message_id,
            order_id=order_id,
            why=why,
            count=count,
        )
        self._file.write(entry.model_dump_json(exclude_defaults=True).encode() + b"\n")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


class JournalReader:
    """The reading end: gives what was added since the last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def new_entries(self) -> list[Entry]:
        """Each entry is given once."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            text = file.read()
        # A line that is still being written waits for the next time.
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        return [Entry.model_validate_json(line) for line in whole.splitlines()]
