"""Where a publish of a file stands, kept beside the file so that it can go on after a crash.

Rules:

* What is recorded is always behind what is stored, by one batch at most, and that batch is
  recorded as pending before it is sent. So after a crash there is one batch of which it is not
  known whether Redis has it, and which one is known.
* A record belongs to one queue at one address, and to the bytes that were read: their hash is
  compared before going on, so that a file that was changed is not continued in its middle.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from typed_rmq import ConfigError

__all__ = ["Progress", "progress_file"]


@dataclass
class Progress:
    """How far a file was published.

    Attributes:
        queue: the queue's name.
        target: the address of Redis, without credentials.
        run: a random name of this import, for keys that tell its lines from all others.
        offset: bytes of the file that are dealt with.
        line: lines that are dealt with.
        digest: hash of those bytes.
        published, duplicates, conflicts, refused: what became of them.
        refused_size: bytes of the file of refused lines that belong to them.
        pending: seconds since 1970 at which the batch behind ``offset`` was sent, if one was.
        pending_batch: how many lines such a batch has at most.
        finished: whether the file's end was reached.
        at: seconds since 1970 of this record.
    """

    queue: str
    target: str
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    offset: int = 0
    line: int = 0
    digest: str = ""
    published: int = 0
    duplicates: int = 0
    conflicts: int = 0
    refused: int = 0
    refused_size: int = 0
    pending: float | None = None
    pending_batch: int = 0
    finished: bool = False
    at: float = 0.0

    def save(self, path: Path, *, sync: bool) -> None:
        """Replace the record at once; ``sync`` also survives a machine that goes down."""
        self.at = time.time()
        new = path.with_name(path.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)

    @classmethod
    def read(cls, path: Path) -> Progress | None:
        """The record, or ``None`` where there is none.

        Raises:
            ConfigError: it is not a record of ours.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValueError:
            raise ConfigError(
                f"{path} is no record of a publish; remove it, or choose another with --progress"
            ) from None


def progress_file(file: Path, queue: str, target: str) -> Path:
    """The place of the record: one for each queue at each address."""
    mark = hashlib.blake2b(f"{target}\n{queue}".encode(), digest_size=4).hexdigest()
    return file.with_name(f"{file.name}.{mark}.progress")
