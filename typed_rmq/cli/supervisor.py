"""Worker processes: started, watched, started again when they crash, ended gracefully.

Rules:

* The first SIGINT or SIGTERM is passed on as SIGTERM: each worker finishes the message in hand.
  The second one interrupts what is in hand, which goes back uncounted. After the grace period,
  or at the third one, SIGKILL; then the lease brings the messages back.
* A worker that ends otherwise than it was told to is started again: at once the first time, then
  after 1, 2, 4 ... seconds, up to 30, until one has lived for 10 seconds.
* A worker that says that it is configured wrongly (exit code 2) ends them all: the next one would
  say the same. With reloading, the next change of a file is waited for instead.
* Nothing is polled: the loop sleeps until a signal, the end of a child, or the next thing to do.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final

from .common import ExitCode

__all__ = ["Supervisor"]

HEALTHY_AFTER: Final = 10.0
LONGEST_DELAY: Final = 30.0


@dataclass
class Worker:
    """One place for a process."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    due: float | None = 0.0
    """When to start it, by ``time.monotonic()``; ``None`` for not again."""

    @property
    def name(self) -> str:
        return f"worker {self.number}"


class Supervisor:
    """Keeps worker processes running.

    Args:
        command: the command of the worker with this number.
        count: how many.
        grace: seconds that workers get to end, before they are killed.
        ends: whether a worker may end by itself, as with ``--until-empty``.
        say: is told what happens.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        count: int,
        *,
        grace: float,
        ends: bool,
        reloading: bool,
        say: Callable[[str], None],
    ) -> None:
        self._command = command
        self._workers = [Worker(number) for number in range(1, count + 1)]
        self._grace = grace
        self._ends = ends
        self._reloading = reloading
        self._say = say
        self._signals: list[int] = []
        self._answered = 0
        self._changed: str | None = None
        self._restarting = False
        self._kill_at: float | None = None
        self._code: int = ExitCode.DONE
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def changed(self, what: str) -> None:
        """A file has changed: start all workers anew. From any thread."""
        self._changed = what
        self._wake()

    def run(self) -> int:
        """Until all have ended; the exit code."""
        with self._watching_signals():
            try:
                while not self._step():
                    self._sleep()
            finally:
                self._kill()
                os.close(self._wake_read)
                os.close(self._wake_write)
        return self._code

    # --- one round

    def _step(self) -> bool:
        """Do what is to be done now; whether all is over."""
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is not None:
                self._ended(worker, worker.process)
        while self._answered < len(self._signals):
            self._answered += 1
            self._answer(self._answered)
        if self._changed is not None and not self._stopping:
            self._say(f"{self._changed} has changed: starting the workers anew")
            self._changed = None
            self._restart()
        running = self._running()
        if self._stopping or self._restarting:
            if running:
                if self._kill_at is not None and time.monotonic() >= self._kill_at:
                    self._give_up(running)
                return False
            if self._stopping:
                return True
            self._restarting = False
            self._kill_at = None
            for worker in self._workers:
                worker.due, worker.failures = 0.0, 0
        now = time.monotonic()
        for worker in self._workers:
            if worker.process is None and worker.due is not None and worker.due <= now:
                self._start(worker)
        return not self._running() and not self._reloading and not self._waiting()

    @property
    def _stopping(self) -> bool:
        return self._answered > 0 or self._code != ExitCode.DONE

    def _running(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.process is not None]

    def _waiting(self) -> list[float]:
        return [
            worker.due
            for worker in self._workers
            if worker.process is None and worker.due is not None
        ]

    def _start(self, worker: Worker) -> None:
        # Standard input is a pipe that only we hold open: a worker that sees its end knows that
        # we are gone, also by kill -9. A group of its own: Ctrl-C reaches us alone.
        worker.process = subprocess.Popen(  # noqa: S603
            self._command(worker.number), stdin=subprocess.PIPE, process_group=0
        )
        worker.started = time.monotonic()
        worker.due = None
        self._say(f"{worker.name} (pid {worker.process.pid}) started")

    def _ended(self, worker: Worker, process: subprocess.Popen[bytes]) -> None:
        worker.process = None
        if process.stdin is not None:
            process.stdin.close()
        code = process.returncode
        if self._stopping or self._restarting:
            return
        if code == ExitCode.DONE and self._ends:
            self._say(f"{worker.name} (pid {process.pid}) is done")
            return
        if code == ExitCode.USAGE:
            if self._reloading:
                self._say(f"{worker.name} cannot start; waiting for a change of a file")
                return
            self._code = ExitCode.USAGE
            self._tell_all(signal.SIGTERM)
            return
        now = time.monotonic()
        worker.failures = worker.failures + 1 if now - worker.started < HEALTHY_AFTER else 1
        delay = 0.0
        if worker.failures > 1:
            delay = min(LONGEST_DELAY, 2.0 ** (worker.failures - 2))
        worker.due = now + delay
        when = f"in {delay:g} s" if delay else "now"
        self._say(f"{worker.name} (pid {process.pid}) {_how(code)}; starting it again {when}")

    # --- the end

    def _answer(self, count: int) -> None:
        if count == 1:
            running = len(self._running())
            self._say(f"ending {running} workers after the message in hand; once more to interrupt")
            self._tell_all(signal.SIGTERM)
        elif count == 2:
            self._say("interrupting the workers")
            self._tell_all(signal.SIGINT)
        else:
            self._give_up(self._running())

    def _restart(self) -> None:
        self._restarting = True
        self._tell_all(signal.SIGTERM)

    def _tell_all(self, number: signal.Signals) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._grace
        for worker in self._running():
            assert worker.process is not None
            worker.process.send_signal(number)

    def _give_up(self, running: Sequence[Worker]) -> None:
        self._say(f"killing {len(running)} workers that have not ended; their lease will run out")
        self._kill()
        if not self._restarting and self._code == ExitCode.DONE:
            self._code = ExitCode.FAILED

    def _kill(self) -> None:
        for worker in self._running():
            assert worker.process is not None
            worker.process.kill()
            worker.process.wait()
            if worker.process.stdin is not None:
                worker.process.stdin.close()
            worker.process = None

    # --- waiting

    def _sleep(self) -> None:
        moments = self._waiting()
        if self._kill_at is not None and (self._stopping or self._restarting):
            moments.append(self._kill_at)
        timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
        select.select([self._wake_read], [], [], timeout)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 512):
                pass

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"!")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number != signal.SIGCHLD:
            self._signals.append(number)

    @contextlib.contextmanager
    def _watching_signals(self) -> Generator[None]:
        """Every signal also writes to the pipe that we wait at: none comes between two looks."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        descriptor = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
