"""Users of an embedded server as real processes, and a check that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from typed_rmq.embedded._folder import socket_path
from typed_rmq.embedded._guard import ask, is_held

ROOT = Path(__file__).parents[2]


def eventually(condition: Callable[[], bool], timeout: float = 5.0) -> bool:
    """Whether the condition holds within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def running(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return state.strip() != "" and not state.startswith("Z")


def server_lives(folder: Path) -> bool:
    return is_held(str(folder / "server.lock"))


def guard_lives(folder: Path) -> bool:
    return is_held(str(folder / "guard.lock"))


def server_pid(folder: Path) -> int:
    info = ask(str(socket_path(folder)), "INFO server")[0].decode()
    return next(int(line[11:]) for line in info.splitlines() if line.startswith("process_id:"))


def guard_pid(folder: Path) -> int:
    table = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True
    ).stdout
    found = [line for line in table.splitlines() if "_guard.py" in line and str(folder) in line]
    assert len(found) == 1, found
    return int(found[0].split()[0])


class User:
    """A process of its own; see ``user_process.py`` for what it can be told."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.embedded.user_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def send(self, verb: str, *arguments: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> object:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the user process ended"
        return json.loads(line)

    def tell(self, verb: str, *arguments: object) -> object:
        self.send(verb, *arguments)
        return self.answer()

    def kill(self, signum: int = signal.SIGKILL) -> None:
        os.killpg(self.process.pid, signum)
        self.process.wait(timeout=10)

    def leave(self) -> None:
        """End as a program ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(timeout=10) == 0

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder, with neither a server nor a guard left after the test."""
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    yield path
    if path.exists():
        assert eventually(lambda: not server_lives(path)), "the server was left running"
        assert eventually(lambda: not guard_lives(path)), "the guard was left running"


@pytest.fixture
def users(folder: Path) -> Iterator[Callable[[int], list[User]]]:
    """Make so many user processes, ready to be told something."""
    made: list[User] = []

    def make(count: int) -> list[User]:
        new = [User() for _ in range(count)]
        made.extend(new)
        for user in new:
            assert user.answer() == "ready"
        return new

    yield make
    for user in made:
        user.clean_up()
