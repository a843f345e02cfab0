"""Publishing the lines of a file: read, validate, send in batches, record, go on after a crash."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal, cast

from pydantic import TypeAdapter, ValidationError

from typed_rmq import ConfigError, PayloadError, Priority, Queue, Receipt

from .output import one_line
from .progress import Progress

__all__ = ["Feed", "Line", "LineKeys"]

LONGEST_LINE: Final = 16 * 1024 * 1024
"""Bytes; a longer line is refused without being held in memory."""

InDoubt = Literal["ask", "resend", "skip"]


@dataclass(slots=True)
class Line:
    """One line of the file: a payload, or why it is refused."""

    number: int
    raw: bytes
    payload: object = None
    problem: str | None = None


class LineKeys:
    """Dedup keys by line, for a file whose equal lines are to be published all the same.

    A key names the import and the line, so only a repetition of that very line is a duplicate. The
    queue asks for the keys of a batch in its order.
    """

    def __init__(self) -> None:
        self._run = ""
        self._numbers: Iterator[int] = iter(())

    def batch(self, run: str, lines: list[Line]) -> None:
        """The lines that are asked for next."""
        self._run = run
        self._numbers = iter([line.number for line in lines])

    def __call__(self, payload: object) -> tuple[str, int]:
        del payload
        return self._run, next(self._numbers)


class Feed:
    """One publish of a file.

    Args:
        queue: where to.
        file: the lines, open for reading bytes.
        progress: where to begin; kept up to date.
        record: where the progress is kept, or ``None`` (standard input cannot be read again).
        refused: where refused lines are written; made at the first one.
        keys: dedup keys by line, if the queue uses them.
        repeatable: seconds for which a batch may be sent again without doubling; 0 for not at all.
        in_doubt: what to do about a batch of which that is too late.
    """

    def __init__(
        self,
        queue: Queue[object],
        file: IO[bytes],
        progress: Progress,
        *,
        record: Path | None,
        refused: Path,
        keys: LineKeys | None,
        repeatable: float,
        in_doubt: InDoubt,
        batch: int,
        priority: Priority,
        delay: float | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        self.progress = progress
        self.stopping = False
        self._queue = queue
        self._file = file
        self._adapter: TypeAdapter[object] = TypeAdapter(
            cast("type[object]", queue.payload_type)  # or a union, or whatever Pydantic takes
        )
        self._record = record
        self._refused_path = refused
        self._refused: IO[str] | None = None
        self._keys = keys
        self._repeatable = repeatable
        self._in_doubt = in_doubt
        self._batch = batch
        self._priority: Priority = priority
        self._delay = delay
        self._headers = headers
        self._hash = hashlib.blake2b()
        self._offset = 0
        self._number = 0

    def start(self) -> None:
        """Go to where an earlier run stopped.

        Raises:
            ConfigError: the file is not the one that was begun, or a batch is in doubt.
        """
        progress = self.progress
        left = progress.offset
        while left:
            chunk = self._file.read(min(left, 1 << 20))
            if not chunk:
                break
            self._hash.update(chunk)
            left -= len(chunk)
        if progress.offset and (left or self._hash.hexdigest() != progress.digest):
            raise ConfigError(
                f"the file was changed in the {progress.line} lines that are published already; "
                "--restart publishes it from its first line on"
            )
        self._offset, self._number = progress.offset, progress.line
        if self._refused_path.exists() and progress.offset:
            # Lines that were refused in the batch that comes again.
            os.truncate(self._refused_path, progress.refused_size)
        progress.finished = False
        if progress.pending is not None:
            self._settle_doubt(time.time() - progress.pending)

    def _settle_doubt(self, since: float) -> None:
        if since < self._repeatable * 0.9 and self._in_doubt == "ask":
            return  # sent again: what is stored is recognized
        first = self.progress.line + 1
        if self._in_doubt == "ask":
            raise ConfigError(
                f"up to {self.progress.pending_batch} lines from line {first} on were being sent "
                "when the last run was killed, and it is too late to recognize them. See whether "
                "they arrived, then use --in-doubt resend or --in-doubt skip"
            )
        if self._in_doubt == "skip":
            self._note(list(self._read(self.progress.pending_batch)), [])

    def run(self, told: Callable[[int], None]) -> bool:
        """Publish to the end; whether it was reached. ``told`` hears of the bytes dealt with."""
        try:
            while not self.stopping:
                lines = list(self._read(self._batch))
                if not lines:
                    self.progress.finished = True
                    self._save()
                    return True
                before = self.progress.offset
                self._note(lines, self._publish(lines))
                told(self.progress.offset - before)
            return False
        finally:
            if self._refused is not None:
                self._refused.close()

    # --- reading

    def _read(self, batch: int) -> Iterator[Line]:
        """The next lines, as many as make a batch; lines without anything are passed over."""
        count = 0
        while count < batch:
            raw = self._file.readline(LONGEST_LINE)
            if not raw:
                return
            line = self._one(raw)
            self._number = line.number
            if line.raw or line.problem:
                count += 1
            yield line

    def _one(self, raw: bytes) -> Line:
        self._advance(raw)
        number = self._number + 1
        if not raw.endswith(b"\n") and len(raw) == LONGEST_LINE:
            length = len(raw)
            while rest := self._file.readline(1 << 20):
                self._advance(rest)
                length += len(rest)
                if rest.endswith(b"\n"):
                    break
            return Line(number, raw[:200], problem=f"the line is too long: {length} bytes")
        text = raw.strip()
        if number == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")  # what some editors put in front
        line = Line(number, text)
        if text:
            try:
                line.payload = self._adapter.validate_json(text)
            except ValidationError as error:
                line.problem = _problems(error)
            except Exception as error:  # noqa: BLE001 - a validator of the user's model
                line.problem = f"{type(error).__name__}: {one_line(str(error))}"
        return line

    def _advance(self, raw: bytes) -> None:
        self._offset += len(raw)
        self._hash.update(raw)

    # --- sending

    def _publish(self, lines: list[Line]) -> list[Receipt]:
        """Store what is valid of a batch. What only the queue finds out is refused as well."""
        while True:
            good = [line for line in lines if line.raw and line.problem is None]
            if not good:
                return []
            if self._keys is not None:
                self._keys.batch(self.progress.run, good)
            try:
                if self.progress.pending is None:
                    self.progress.pending, self.progress.pending_batch = time.time(), self._batch
                    self._save()
                return self._queue.publish_many(
                    [line.payload for line in good],
                    batch=self._batch,
                    priority=self._priority,
                    delay=self._delay,
                    headers=self._headers,
                )
            except PayloadError as error:
                # Raised before the batch is sent: nothing of it is stored.
                if error.index is None or error.index >= len(good):
                    raise
                good[error.index].problem = one_line(str(error).partition(": ")[2] or str(error))

    def _note(self, lines: list[Line], receipts: list[Receipt]) -> None:
        progress = self.progress
        for line in lines:
            if line.problem is not None:
                progress.refused += 1
                self._refuse(line)
        if self._refused is not None:
            self._refused.flush()
            progress.refused_size = self._refused.tell()
        duplicates = sum(receipt.duplicate for receipt in receipts)
        progress.published += len(receipts) - duplicates
        progress.duplicates += duplicates
        progress.conflicts += sum(receipt.conflict for receipt in receipts)
        progress.offset, progress.line = self._offset, self._number
        progress.digest = self._hash.hexdigest()
        progress.pending = None
        self._save()

    def _refuse(self, line: Line) -> None:
        if self._refused is None:
            mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._refused = os.fdopen(os.open(self._refused_path, mode, 0o600), "a")
        record = {
            "line": line.number,
            "reason": line.problem,
            "text": line.raw.decode("utf-8", "backslashreplace"),
        }
        self._refused.write(json.dumps(record) + "\n")

    def _save(self) -> None:
        if self._record is not None:
            self.progress.save(self._record, sync=not self._repeatable)


def _problems(error: ValidationError) -> str:
    """What is wrong, and where, without the values."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [
        f"{'.'.join(str(part) for part in one['loc']) or 'line'}: {one['msg']}" for one in found[:5]
    ]
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return one_line("; ".join(parts) + more)
