"""Processes that use a queue and are then killed, frozen, or interrupted.

``Actor(source, url, queue name)`` runs a script in a process of its own. The script finds ``URL``
and ``NAME``, everything of ``typed_rmq``, and ``say(...)``, which prints a line that the test
reads with ``actor.line()`` or ``actor.expect("ready")``. Nothing waits without a deadline.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

__all__ = ["Actor", "eventually"]

DEADLINE = 20.0
"""Seconds for whatever should happen soon: long, for machines that are busy."""

PRELUDE = """
from __future__ import annotations
import asyncio, gc, itertools, logging, os, signal, sys, threading, time
from typed_rmq import *
URL, NAME = sys.argv[1:3]

def say(*words):
    print(*words, flush=True)

"""

ROOT = Path(__file__).parents[2]


def eventually(what: Callable[[], object], seconds: float = DEADLINE, hint: object = "") -> None:
    """Wait until ``what()`` is true, or equal where it raises ``AssertionError`` until then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if what():
                return
            problem = "it is still not so"
        except AssertionError as error:
            problem = str(error)
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {problem} {hint}")
        time.sleep(0.01)


class Actor:
    """A process that runs ``source``; ends with its ``with`` block at the latest."""

    def __init__(self, source: str, url: str, name: str, *arguments: object) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._text = b""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(source)),
                *(url, name, *map(str, arguments)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def errors(self) -> str:
        """What it has written to stderr so far."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def line(self, seconds: float = DEADLINE) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._text:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, left))
            if not ready:
                raise AssertionError(f"it said nothing within {seconds} s:\n{self.errors[-3000:]}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                code = self.process.wait(DEADLINE)
                raise AssertionError(f"it ended with {code}:\n{self.errors[-3000:]}")
            self._text += data
        line, self._text = self._text.split(b"\n", 1)
        return line.decode()

    def expect(self, *lines: str) -> None:
        """The next lines, exactly."""
        for wanted in lines:
            assert self.line() == wanted

    def rest(self) -> list[str]:
        """Everything that it says until it ends."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + DEADLINE
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.process.stdout], [], [], left)
            assert ready, f"it does not end:\n{self.errors[-3000:]}"
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                break
            self._text += data
        lines, self._text = self._text.decode().splitlines(), b""
        return lines

    def signal(self, number: signal.Signals) -> None:
        """Send it, and wait until it has arrived: two that wait for a busy process become one."""
        self.process.send_signal(number)
        eventually(lambda: not _pending(self.pid, number))

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def freeze(self) -> None:
        """SIGSTOP, and wait until it stands still."""
        self.signal(signal.SIGSTOP)
        eventually(lambda: _state(self.pid) == "T")

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, seconds: float = DEADLINE) -> int:
        """Its exit code; negative where a signal ended it."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self._where()}") from None

    def _where(self) -> str:
        """Its last words, and where each of its threads stands (``PYTHONFAULTHANDLER``)."""
        self.process.send_signal(signal.SIGABRT)
        self.process.wait(DEADLINE)
        return self.errors[-6000:]

    def ends_well(self) -> None:
        """It ends with 0 and without a complaint."""
        assert self.wait() == 0, self.errors[-3000:]
        assert "Traceback" not in self.errors, self.errors[-3000:]
        assert "Exception ignored" not in self.errors, self.errors[-3000:]

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Actor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _pending(pid: int, number: signal.Signals) -> bool:
    """Whether the signal is still on its way; not where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def _state(pid: int) -> str:
    """R, S, T (stopped), ... of a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
