"""``typed-rmq`` as a real process, in a pipe or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyte
import pytest

from tests.servers import RunningServer, available, start
from typed_rmq.cli.app import run

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "typed_rmq.cli"]
PATIENCE = 60.0
"""Seconds that anything may take on a busy machine."""


def until(condition: Callable[[], Any], what: str = "it") -> Any:
    """Wait for a condition; its value."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def shared_server() -> Iterator[RunningServer]:
    """One server for all tests of the command line: what it sends is tested elsewhere."""
    kind = next(kind for kind, missing in available().items() if not missing)
    with start(kind, tcp=True) as server:
        yield server


@dataclass
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """Its output as JSON, one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def rows(self) -> list[dict[str, str]]:
        """Its output as tab-separated values under one header line."""
        head, *lines = (line.split("\t") for line in self.out.splitlines())
        return [dict(zip(head, line, strict=True)) for line in lines]


class Screen:
    """A command on a terminal of 120 by 40, with what stands on it."""

    def __init__(self, arguments: list[str], env: dict[str, str], cwd: Path) -> None:
        self.raw = b""
        self._screen = pyte.Screen(120, 40)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**env, "TERM": "xterm-256color"},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def _read(self, timeout: float) -> None:
        if select.select([self._master], [], [], timeout)[0]:
            with contextlib.suppress(OSError):  # the other end is closed
                data = os.read(self._master, 65536)
                self.raw += data
                self._stream.feed(data)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display).strip()

    def shows(self, pattern: str) -> re.Match[str]:
        """Wait until the screen matches."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, f"{pattern!r} is not on the screen:\n{self.text}"
            self._read(0.1)
        return match

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def ends(self) -> int:
        """Its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
            self._read(0.1)
        self._read(0.1)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


class Shell:
    """Runs commands on one Redis, in one folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.journal = folder / "journal"
        self.env = {
            **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
            "REDIS_URL": url,
            "PYTHONPATH": str(ROOT),
            "JOURNAL": str(self.journal),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
        }
        self._open: list[Screen] = []
        self._processes: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Done:
        """In this process, as a new one takes a second to import everything."""
        out, err = io.StringIO(), io.StringIO()
        logger = logging.getLogger("typed_rmq")
        before = signal.getsignal(signal.SIGTERM), logger.handlers[:], logger.level, sys.path[:]
        with pytest.MonkeyPatch.context() as patch:
            for name in list(os.environ):
                if name not in self.env:
                    patch.delenv(name)
            for name, value in {**self.env, **(env or {})}.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            # As a real one, which has the bytes below it.
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
            logger.handlers[:] = []
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    code = run(arguments)
            finally:
                signal.signal(signal.SIGTERM, before[0])
                logger.handlers[:], sys.path[:] = before[1], before[3]
                logger.setLevel(before[2])
        return self._done(code, out.getvalue(), err.getvalue())

    def process(self, *arguments: str, env: dict[str, str] | None = None) -> Done:
        """In a process of its own, to its end."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env={**self.env, **(env or {})},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return self._done(done.returncode, done.stdout, done.stderr)

    def _done(self, code: int, out: str, err: str) -> Done:
        assert "Traceback" not in err or "worker" in err, err
        return Done(code, out, err)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In the background; killed when the test ends."""
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._processes.append(process)
        return process

    def screen(self, *arguments: str) -> Screen:
        """On a terminal."""
        screen = Screen(list(arguments), self.env, self.folder)
        self._open.append(screen)
        return screen

    def journal_lines(self, start: str = "") -> list[str]:
        text = self.journal.read_text() if self.journal.exists() else ""
        return [line for line in text.splitlines() if line.startswith(start)]

    def close(self) -> None:
        for screen in self._open:
            screen.close()
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()


@pytest.fixture
def shell(shared_server: RunningServer, tmp_path: Path) -> Iterator[Shell]:
    """Commands on an empty Redis, in an empty folder."""
    shared_server.command("FLUSHALL")
    shell = Shell(shared_server.url, tmp_path)
    yield shell
    shell.close()
