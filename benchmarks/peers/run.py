"""One run: passes over all systems, each short, so that drift of the machine hits all alike."""

from __future__ import annotations

import contextlib
import fcntl
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from ..machine import CORES, Server, pin
from .catalogue import Entry
from .driver import Child, ChildError
from .environments import python_of
from .results import Results

__all__ = ["FULL", "QUICK", "Effort", "Run"]

VERBS = ("publish", "bulk", "consume")
FIRST = 30
"""Messages of the very first slice, from which the next one's size is guessed."""
GROWTH = 12
"""A slice is larger than the one before by this factor at most."""
HOLD = 40.0
"""Seconds after which the lock is given up for a moment, also within a pass."""
IDLE = 0.06
"""Seconds before a sample of the wake-up test at least: nothing of the last one lingers."""
MOST = {"order": 150_000, "1k": 40_000, "64k": 1_000}
"""Messages in a slice at most."""


@dataclass(frozen=True)
class Effort:
    """How much to measure. Seconds are for a slice."""

    rounds: int
    seconds: float
    short: float
    memory: int
    latency_rounds: int
    samples: int
    latency_seconds: float


FULL = Effort(5, 0.2, 0.12, 1_000, 2, 50, 5.0)
QUICK = Effort(1, 0.02, 0.01, 100, 1, 3, 3.0)


class Run:
    """Measures what ``results`` does not have yet. A context manager: it ends all children."""

    def __init__(
        self,
        server: Server,
        entries: list[Entry],
        effort: Effort,
        results: Results,
        path: Path | None,
        lock: Path | None,
    ) -> None:
        self._server, self._entries, self._effort = server, entries, effort
        self.results, self._path, self._lock = results, path, lock
        self._children: dict[str, Child] = {}
        self._rates: dict[tuple[str, str], float] = {}
        self._order = random.Random(1)

    def __enter__(self) -> Run:
        self._folder = tempfile.TemporaryDirectory(prefix="trmq-peers-")
        for entry in self._entries:
            python = python_of(entry.environment)
            if python is None:
                self.results.problem(entry.name, "its environment could not be made")
                continue
            self._server.empty()
            log = Path(self._folder.name) / f"{entry.module}.log"
            try:
                child = Child(python, entry.module, entry.config, self._server, log)
            except ChildError as error:
                self.results.problem(entry.name, f"did not start: {error}")
                print(log.read_text(errors="replace")[-1500:], flush=True)
                continue
            self._children[entry.name] = child
            self.results.data["about"][entry.name] = child.about
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():
            child.kill()
        self._folder.cleanup()

    # --- passes

    def throughput(self, pinning: str) -> None:
        """``cross``: a core for the server and one for the client; ``same``: one for both."""
        seconds = self._effort.seconds if pinning == "cross" else self._effort.short
        with self._pinned(pinning):
            self._rounds(pinning, "order", self._entries, seconds)

    def sizes(self) -> None:
        entries = [entry for entry in self._entries if entry.sizes]
        for size in ("1k", "64k"):
            self._rounds("cross", size, entries, self._effort.short)

    def _rounds(self, pinning: str, size: str, entries: list[Entry], seconds: float) -> None:
        for number in range(-1, self._effort.rounds):
            for verb in VERBS:
                able = [entry for entry in entries if self._able(entry, verb)]
                turn = able if number % 2 else able[::-1]
                name = f"{pinning}/{size}/{verb}/{number}"
                share = seconds if number >= 0 else seconds / 2
                slice_ = partial(self._slice, pinning, size, verb, share, number >= 0)
                self._pass(name, turn, slice_)

    def memory(self) -> None:
        self._pass("memory", self._entries, self._memory)

    def latency(self) -> None:
        entries = [entry for entry in self._entries if entry.idle]
        for number in range(self._effort.latency_rounds):
            for entry in entries if number % 2 else entries[::-1]:
                self._pass(f"latency/{number}/{entry.name}", [entry], self._latency)

    def _pass(self, name: str, entries: list[Entry], measure: Callable[[Entry], None]) -> None:
        if self.results.done(name):
            return
        spent = 0.0
        turns = iter([entry for entry in entries if entry.name in self._children])
        left = True
        while left:
            with self._locked():
                began, left = time.monotonic(), False
                for entry in turns:
                    self._guarded(entry, name, measure)
                    if time.monotonic() > began + HOLD:
                        left = True
                        break
                spent += time.monotonic() - began
        self.results.finish(name)
        if self._path is not None:
            self.results.save(self._path)
        print(f"{name}: {spent:.1f} s", flush=True)

    def _guarded(self, entry: Entry, name: str, measure: Callable[[Entry], None]) -> None:
        """A system that fails is started anew, and the report says what happened."""
        try:
            measure(entry)
        except ChildError as error:
            what = name.rpartition("/")[0] or name
            self.results.problem(entry.name, f"{what}: {error}")
            print(f"{entry.name}: {what}: {error}", flush=True)
            old = self._children.pop(entry.name)
            old.kill()
            print(old.log(), flush=True)
            with contextlib.suppress(ChildError):
                self._server.empty()
                self._children[entry.name] = old.again()

    # --- measurements of one entry

    def _able(self, entry: Entry, verb: str) -> bool:
        child = self._children.get(entry.name)
        if child is None:
            return False
        return verb != "bulk" or bool(child.about["bulk"])

    def _slice(
        self, pinning: str, size: str, verb: str, seconds: float, keep: bool, entry: Entry
    ) -> None:
        where, child = f"{pinning}/{size}/{verb}", self._children[entry.name]
        figures: dict[str, int] = {}
        for _ in range(1 if keep else 3):
            n = self._size(where, size, entry, seconds)
            if verb == "consume":
                least = child.about["least"]
                n = max(n, least if size == "order" else min(least, 1000))
            figures = self._ask(child, entry, verb, n, size)
            if not figures or figures["n"] <= 0:
                return
            self._rates[where, entry.name] = figures["n"] / figures["wall_ns"] * 1e9
            if n >= 0.8 * min(self._rates[where, entry.name] * seconds, MOST[size]):
                break
        if keep:
            self.results.add(where, entry.name, figures)

    def _size(self, where: str, size: str, entry: Entry, seconds: float) -> int:
        rate = self._rates.get((where, entry.name)) or self.results.rate(where, entry.name)
        if rate is None:
            return FIRST
        last = self._rates.get(("n", where + entry.name), FIRST)
        n = min(max(20, round(rate * seconds)), MOST[size], round(last * GROWTH))
        self._rates["n", where + entry.name] = n
        return n

    def _ask(self, child: Child, entry: Entry, verb: str, n: int, size: str) -> dict[str, int]:
        if verb in ("publish", "bulk"):
            self._server.empty()
            return child.ask(verb, n=n, size=size)
        worker = child
        if child.about["fresh"]:
            self._server.empty()
            worker = child.again()
        try:
            self._server.empty()
            warm = max(20, n // 10)
            answer = worker.ask("consume", n=n, warm=warm, size=size)
        finally:
            if worker is not child:
                worker.kill()
        if answer["handled"] != answer["sent"]:
            text = f"{verb}, {size}: sent {answer['sent']:,}, handled {answer['handled']:,}"
            self.results.problem(entry.name, text)
        told: dict[str, int] = answer["figures"]
        return told

    def _memory(self, entry: Entry) -> None:
        child = self._children[entry.name]
        self._server.empty()
        # Makes the keys that are there once, whatever the number of messages.
        child.ask("fill", n=200, size="order")
        before = self._held()
        count = child.ask("fill", n=self._effort.memory, size="order")["n"]
        self.results.data["memory"][entry.name] = (self._held() - before) / count
        self._server.empty()

    def _held(self) -> int:
        """Bytes of all keys. What the server grew by has the buffers of its clients in it."""
        cursor, total = 0, 0
        while True:
            answer = self._server.command("SCAN", cursor, "COUNT", 1000)
            cursor, keys = cast("tuple[int, list[bytes]]", answer)
            for key in keys:
                # None for a key that has expired meanwhile.
                total += int(str(self._server.command("MEMORY", "USAGE", key, "SAMPLES", 0) or 0))
            if cursor == 0:
                return total

    def _latency(self, entry: Entry) -> None:
        publisher = self._children[entry.name]
        # Before it connects, too: the key of the one before may be of another type.
        self._server.empty()
        consumer = publisher.again()
        try:
            self._server.empty()
            consumer.send("serve")
            self._awake(publisher, consumer)
            samples: list[float] = []
            until = time.monotonic() + self._effort.latency_seconds
            while len(samples) < self._effort.samples and time.monotonic() < until:
                # A worker that polls is met at any moment of its period.
                poll = max(0.02, publisher.about["poll"])
                time.sleep(IDLE + self._order.uniform(0, poll))
                began = publisher.ask("one", size="order")["began"]
                samples.append((consumer.receive(10)["at"] - began) / 1e6)
        finally:
            consumer.kill()
        self.results.data["latency"].setdefault(entry.name, []).append(samples)

    def _awake(self, publisher: Child, consumer: Child) -> None:
        """Until the worker has handled something, and waits for more."""
        until = time.monotonic() + 20
        while not consumer.waiting():
            if time.monotonic() > until:
                raise ChildError("an idle worker handled nothing within 20 s")
            publisher.ask("one", size="order")
            for _ in range(50):
                if consumer.waiting():
                    break
                time.sleep(0.02)
        for _ in range(2):
            publisher.ask("one", size="order")
        time.sleep(0.3 + 2 * publisher.about["poll"])
        while consumer.waiting():
            consumer.receive()

    # --- cores and locks

    @contextlib.contextmanager
    def _pinned(self, pinning: str) -> Iterator[None]:
        if CORES and pinning == "same":
            pin(CORES[1], self._server.pid)
        try:
            yield
        finally:
            if CORES:
                pin(CORES[0], self._server.pid)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Others may use the machine between passes, not within one."""
        if self._lock is None:
            yield
            return
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
