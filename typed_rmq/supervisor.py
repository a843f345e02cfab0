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

How a process is made is another's business: the command line starts a command, the library a
function (``processes.py``).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol

__all__ = ["DONE", "FAILED", "MISCONFIGURED", "Child", "Supervisor"]

DONE: Final = 0
FAILED: Final = 1
MISCONFIGURED: Final = 2
"""Exit codes: the next one that is started would end as well."""

HEALTHY_AFTER: Final = 10.0
LONGEST_DELAY: Final = 30.0


class Child(Protocol):
    """A process that was started. It sees by itself that its parent is gone, also by kill -9."""

    @property
    def pid(self) -> int: ...

    @property
    def sentinel(self) -> int | None:
        """A descriptor that can be read when it has ended; ``None`` where only SIGCHLD tells."""
        ...

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, or ``None`` while it runs."""
        ...

    def send_signal(self, number: signal.Signals, /) -> None: ...

    def kill(self) -> None:
        """End it at once, and wait for that."""
        ...

    def close(self) -> None:
        """It has ended: give back what it held."""
        ...


@dataclass
class Worker:
    """One place for a process."""

    number: int
    process: Child | None = None
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
        start: starts the worker with this number, in a process group of its own: Ctrl-C reaches the
            supervisor alone.
        count: how many.
        grace: seconds that workers get to end, before they are killed.
        ends: whether a worker may end by itself, as with ``--until-empty``.
        say: is told what happens.
        signals: those that end it; none outside of the main thread.
    """

    def __init__(
        self,
        start: Callable[[int], Child],
        count: int,
        *,
        grace: float,
        ends: bool,
        reloading: bool,
        say: Callable[[str], None],
        signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    ) -> None:
        self._start_child = start
        self._watched = signals
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
        self._code: int = DONE
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def changed(self, what: str) -> None:
        """A file has changed: start all workers anew. From any thread."""
        self._changed = what
        self._wake()

    def stop(self) -> None:
        """End as at a signal; once more to interrupt. From any thread."""
        self._signals.append(signal.SIGTERM)
        self._wake()

    def run(self) -> int:
        """Until all have ended; the exit code."""
        with self._watching_signals() if self._watched else contextlib.nullcontext():
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
            if worker.process is not None and (code := worker.process.poll()) is not None:
                self._ended(worker, worker.process, code)
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
        return self._answered > 0 or self._code != DONE

    def _running(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.process is not None]

    def _waiting(self) -> list[float]:
        return [
            worker.due
            for worker in self._workers
            if worker.process is None and worker.due is not None
        ]

    def _start(self, worker: Worker) -> None:
        worker.process = self._start_child(worker.number)
        worker.started = time.monotonic()
        worker.due = None
        self._say(f"{worker.name} (pid {worker.process.pid}) started")

    def _ended(self, worker: Worker, process: Child, code: int) -> None:
        worker.process = None
        pid = process.pid
        process.close()
        if self._stopping or self._restarting:
            return
        if code == DONE and self._ends:
            self._say(f"{worker.name} (pid {pid}) is done")
            return
        if code == MISCONFIGURED:
            if self._reloading:
                self._say(f"{worker.name} cannot start; waiting for a change of a file")
                return
            self._code = MISCONFIGURED
            self._tell_all(signal.SIGTERM)
            return
        now = time.monotonic()
        worker.failures = worker.failures + 1 if now - worker.started < HEALTHY_AFTER else 1
        delay = 0.0
        if worker.failures > 1:
            delay = min(LONGEST_DELAY, 2.0 ** (worker.failures - 2))
        worker.due = now + delay
        when = f"in {delay:g} s" if delay else "now"
        self._say(f"{worker.name} (pid {pid}) {_how(code)}; starting it again {when}")

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
        if not self._restarting and self._code == DONE:
            self._code = FAILED

    def _kill(self) -> None:
        for worker in self._running():
            assert worker.process is not None
            worker.process.kill()
            worker.process.close()
            worker.process = None

    # --- waiting

    def _sleep(self) -> None:
        moments = self._waiting()
        if self._kill_at is not None and (self._stopping or self._restarting):
            moments.append(self._kill_at)
        timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
        ends = [worker.process.sentinel for worker in self._workers if worker.process is not None]
        descriptors = [self._wake_read, *(end for end in ends if end is not None)]
        select.select(descriptors, [], [], timeout)
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
        numbers = (*self._watched, signal.SIGCHLD)
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
