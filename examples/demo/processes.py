"""The demo's child processes: started, watched, and gone when the demo is."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from .journal import JournalReader

__all__ = ["Child", "Family"]

PATIENCE = 5.0
"""Seconds that a process gets to end after SIGTERM, before it is killed."""


@dataclass
class Child:
    """One publisher or worker."""

    name: str
    mode: str
    process: subprocess.Popen[bytes]
    journal: JournalReader
    log: Path
    killed: bool = False

    @property
    def running(self) -> bool:
        """Whether the process still lives."""
        return self.process.poll() is None

    @property
    def state(self) -> str:
        """For the screen."""
        if self.killed:
            return f"{self.mode}, killed with -9"
        return f"{self.mode}, {'running' if self.running else 'done'}"

    @property
    def fault(self) -> str | None:
        """What is wrong with the process, if it ended otherwise than it should."""
        code = self.process.poll()
        if code is None or code == 0 or (self.killed and code == -signal.SIGKILL):
            return None
        tail = self.log.read_text(errors="replace").strip().splitlines()[-12:]
        return f"{self.name} ended with exit code {code}:\n    " + "\n    ".join(tail)

    def kill(self) -> None:
        """As ``kill -9`` does: no handler runs, nothing is said to Redis."""
        self.killed = True
        self.process.kill()
        self.process.wait()


class Family:
    """All children of one run."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self.children: list[Child] = []

    def start(self, module: str, name: str, mode: str, *options: str) -> Child:
        """Start ``examples.demo.<module>`` as a process."""
        journal, log = self._folder / f"{name}.journal", self._folder / f"{name}.log"
        arguments = ["--name", name, "--mode", mode, "--url", self._url, "--journal", str(journal)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"examples.demo.{module}", *arguments, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches the demo alone, which then ends its children.
                process_group=0,
            )
        child = Child(name, mode, process, JournalReader(journal), log)
        self.children.append(child)
        return child

    @property
    def faults(self) -> list[str]:
        """What went wrong in any of them."""
        return [child.fault for child in self.children if child.fault is not None]

    @contextlib.contextmanager
    def at_home(self) -> Generator[None]:
        """Whatever happens inside: afterwards no child is left."""
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """SIGTERM to all that still run, which ends their loops after the order in hand."""
        running = [child for child in self.children if child.running]
        for child in running:
            child.process.terminate()
        deadline = time.monotonic() + PATIENCE
        for child in running:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
