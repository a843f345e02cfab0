"""Clocks that are read inside the measured process: time, CPU of both sides, bytes on the wire.

A consume slice is timed between two messages of one backlog, both handled by a worker that is
running: neither its start nor its end counts, for any system. What a worker has fetched ahead or
not yet acknowledged is in the picture at both ends, and so cancels out.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import mmap
import multiprocessing
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Done", "Meter", "Probe", "SharedMeter", "Snapshot", "difference"]

_INFO = b"*2\r\n$4\r\nINFO\r\n$5\r\nstats\r\n"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Snapshot:
    """All clocks at one moment. Nanoseconds and bytes; ``reply`` is what asking has cost."""

    count: int
    wall: int
    client: int
    server: int
    received: int
    sent: int
    reply: int


def difference(first: Snapshot, last: Snapshot) -> dict[str, int]:
    return {
        "n": last.count - first.count,
        "wall_ns": last.wall - first.wall,
        "client_ns": last.client - first.client,
        "server_ns": last.server - first.server,
        "to_server": last.received - first.received - len(_INFO),
        "from_server": last.sent - first.sent - first.reply,
    }


class Probe:
    """Asks the server on a connection of its own, and the kernel for CPU times."""

    def __init__(self, port: int, server_pid: int, *, family: bool) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server = Path(f"/proc/{server_pid}/task")
        self._root = os.getpid()
        self._family = family

    def before(self, count: int = 0) -> Snapshot:
        """The clock last, so that reading the others is not in the slice."""
        received, sent, reply = self._traffic()
        server, client = self._server_cpu(), self._client_cpu()
        return Snapshot(count, time.monotonic_ns(), client, server, received, sent, reply)

    def after(self, count: int) -> Snapshot:
        """The clock first."""
        wall, client = time.monotonic_ns(), self._client_cpu()
        server = self._server_cpu()
        received, sent, reply = self._traffic()
        return Snapshot(count, wall, client, server, received, sent, reply)

    def _traffic(self) -> tuple[int, int, int]:
        self._socket.sendall(_INFO)
        data = b""
        while b"\r\n" not in data:
            data += self._socket.recv(65536)
        head, _, _ = data.partition(b"\r\n")
        size = len(head) + int(head[1:]) + 4
        while len(data) < size:
            data += self._socket.recv(65536)
        fields = dict(line.split(b":", 1) for line in data.splitlines() if b":" in line)
        received = int(fields[b"total_net_input_bytes"])
        return received, int(fields[b"total_net_output_bytes"]), size

    def _server_cpu(self) -> int:
        """Nanoseconds on a core, of all its threads; 0 where the kernel does not tell."""
        try:
            return sum(
                int((thread / "schedstat").read_text().split()[0])
                for thread in self._server.iterdir()
            )
        except (OSError, IndexError):
            return 0

    def _client_cpu(self) -> int:
        if self._family:
            return _family_cpu(self._root)
        return time.process_time_ns()


def _family_cpu(pid: int) -> int:
    """CPU of a process, its living children, and the ones it waited for; by clock ticks."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [
            child
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    own = sum(int(field) for field in stat[11:15]) * 1_000_000_000 // _TICK
    return own + sum(_family_cpu(int(child)) for child in children)


class Done:
    """Told once that all messages were handled, or that no more come; ends the worker."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.stalled = False
        self.wake: Callable[[], object] | None = None
        """Called as well, from whatever thread handled the last message."""

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()
        if self.wake is not None:
            self.wake()

    def wait(self) -> None:
        self._event.wait()

    def sleep(self, seconds: float) -> None:
        """At most."""
        self._event.wait(seconds)

    async def await_(self) -> None:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        self.wake = lambda: loop.call_soon_threadsafe(event.set)
        if not self:
            await event.wait()


class Meter:
    """Counts handled messages, from any thread, and reads the clocks at the first and the last."""

    def __init__(self, probe: Probe, warm: int, total: int, done: Done) -> None:
        self._probe = probe
        self._warm, self._total, self._done = warm, total, done
        # The one counter that threads can share without a lock.
        self._counter = itertools.count(1)
        self._next = self._counter.__next__
        self._seen = 0
        self._first: Snapshot | None = None
        self._last: Snapshot | None = None

    def begin(self) -> None:
        """Counts from here, not from the end of the warm-up."""
        self._first = self._probe.before()

    def hit(self) -> None:
        """One message was handled."""
        count = self._next()
        if count == self._warm and self._first is None:
            self._first = self._probe.before(count)
        elif count >= self._total:
            self._end(count)

    def hit_many(self, n: int) -> None:
        """For handlers that get batches, in one thread. Not to be mixed with ``hit``."""
        self._seen += n
        if self._first is None and self._seen >= self._warm:
            self._first = self._probe.before(self._seen)
        if self._seen >= self._total:
            self._end(self._seen)

    def _end(self, count: int) -> None:
        if self._last is None:
            self._last = self._probe.after(count)
            self._done.set()

    @property
    def count(self) -> int:
        """How many so far."""
        # Looking must not count: "count(8)" is what seven calls leave.
        return self._seen or int(repr(self._counter)[6:-1]) - 1

    @property
    def progress(self) -> int:
        return self.count

    def result(self) -> dict[str, int]:
        return difference(self._first, self._last) if self._first and self._last else {}


class SharedMeter:
    """The same for systems whose handlers run in forked processes."""

    _SLOT = 512

    def __init__(self, probe: Probe, warm: int, total: int, done: Done) -> None:
        self._probe = probe
        self._warm, self._total, self._done = warm, total, done
        self._lock = multiprocessing.get_context("fork").Lock()
        self._memory = mmap.mmap(-1, 8 + 2 * self._SLOT)

    def hit(self) -> None:
        with self._lock:
            count = self.count + 1
            struct.pack_into("q", self._memory, 0, count)
        if count == self._warm:
            self._write(0, self._probe.before(count))
        elif count == self._total:
            self._write(1, self._probe.after(count))

    def hit_many(self, n: int) -> None:
        raise AssertionError("no system with forked handlers is given many at a time")

    def _write(self, slot: int, snapshot: Snapshot) -> None:
        text = json.dumps(asdict(snapshot)).encode().ljust(self._SLOT)
        begin = 8 + slot * self._SLOT
        self._memory[begin : begin + self._SLOT] = text

    def _read(self, slot: int) -> Snapshot | None:
        begin = 8 + slot * self._SLOT
        text = self._memory[begin : begin + self._SLOT].strip(b"\0 ")
        return Snapshot(**json.loads(text)) if text else None

    @property
    def count(self) -> int:
        return int(struct.unpack_from("q", self._memory, 0)[0])

    @property
    def progress(self) -> int:
        # The process that handled the last message cannot tell this one.
        if self._read(1) is not None and not self._done:
            self._done.set()
        return self.count

    def result(self) -> dict[str, int]:
        first, last = self._read(0), self._read(1)
        return difference(first, last) if first and last else {}
