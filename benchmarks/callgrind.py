"""How many instructions a running process takes, by valgrind's callgrind.

A process is started under callgrind with its counting off, which costs it little; ``vgdb`` (a part
of valgrind) then switches it on and off from outside. The process takes what vgdb says when it has
run some hundred instructions, so it must not sleep for long; vgdb could also stop it as a debugger
does, which not every container allows and which hung at times.
"""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["HOW_TO_INSTALL", "Callgrind", "machine", "version"]

HOW_TO_INSTALL = "apt-get install valgrind (Debian, Ubuntu), dnf install valgrind (Fedora)"

PATIENCE = 60.0
"""Seconds that a process has to hear what vgdb says."""

_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def version() -> str | None:
    """Such as ``3.19.0``; ``None`` where valgrind is not installed, or is not for this system."""
    if sys.platform != "linux" or not (shutil.which("valgrind") and shutil.which("vgdb")):
        return None
    asked = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    return asked.stdout.strip().removeprefix("valgrind-")


def machine() -> str:
    """What instructions there are."""
    return f"{platform.machine()}, {' '.join(platform.libc_ver())}"


class Callgrind:
    """One process under callgrind: started by whoever takes ``command``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.command = (
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={folder / 'out'}",
            f"--vgdb-prefix={folder / 'vgdb'}",
            "--vgdb-poll=500",
        )

    @staticmethod
    @contextlib.contextmanager
    def in_folder() -> Iterator[Callgrind]:
        """With a folder of its own, which is removed at the end."""
        with tempfile.TemporaryDirectory(prefix="trmq-count-") as folder:
            yield Callgrind(Path(folder))

    def count(self, pid: int, work: Callable[[], None], wake: Callable[[], object]) -> int:
        """Instructions of the process, in all its threads, while ``work`` runs.

        ``wake`` makes the process do something small; it is called until vgdb was heard. Where that
        is for the end of the counting, it is counted too.
        """
        self._tell(pid, "instrumentation on", wake)
        self._tell(pid, "zero", wake)
        before = set(self._folder.glob("out.*"))
        work()
        self._tell(pid, "dump", wake)
        self._tell(pid, "instrumentation off", wake)
        total = 0
        for dump in set(self._folder.glob("out.*")) - before:
            found = _TOTAL.search(dump.read_text(errors="replace"))
            total += int(found.group(1)) if found else 0
            dump.unlink()
        if not total:
            raise RuntimeError("callgrind counted nothing")
        return total

    def _tell(self, pid: int, command: str, wake: Callable[[], object]) -> None:
        words = [f"--vgdb-prefix={self._folder / 'vgdb'}", f"--pid={pid}", "--max-invoke-ms=0"]
        with subprocess.Popen(
            ["vgdb", *words, *command.split()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as vgdb:
            deadline = time.monotonic() + PATIENCE
            while vgdb.poll() is None and time.monotonic() < deadline:
                wake()
                time.sleep(0.005)
            vgdb.kill()
            said = vgdb.communicate()[0].strip()
        if vgdb.returncode:
            raise RuntimeError(f"vgdb {command} ({vgdb.returncode}): {said[-500:]}")
