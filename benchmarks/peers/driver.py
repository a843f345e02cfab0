"""The other end of ``child``: starts measured processes and talks to them."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ..machine import Server
from .environments import ROOT

__all__ = ["Child", "ChildError"]

TIMEOUT = 90.0


class ChildError(Exception):
    """A system failed at something. What it says is shown in the report."""


class Child:
    """A running ``child`` of one system and configuration."""

    def __init__(self, python: Path, module: str, config: str, server: Server, log: Path) -> None:
        self._args = (python, module, config, server, log)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "REDIS_")) and name != "VIRTUAL_ENV"
        }
        command = [str(python), "-m", "benchmarks.peers.child", module, config]
        command += [str(server.address.port), str(server.pid)]
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.about = self.receive()
        except ChildError:
            self.kill()
            raise

    def again(self) -> Child:
        """Another process of the same kind."""
        return Child(*self._args)

    def log(self) -> str:
        """The end of what its system printed."""
        return self._args[-1].read_text(errors="replace")[-1500:]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def receive(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise ChildError(f"no answer within {timeout:.0f} s") from None
        if not line:
            raise ChildError("the process ended; see its log")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildError(str(answer["error"]))
        return answer

    def waiting(self) -> int:
        """Lines that were not read yet."""
        return self._lines.qsize()

    def send(self, do: str, **arguments: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise ChildError("the process has ended; see its log") from None

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        self.send(do, **arguments)
        return self.receive()

    def kill(self) -> None:
        """Ends it, and whatever it forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        self._reader.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


if sys.platform == "win32":
    raise SystemExit("the peers are measured on POSIX systems only")
