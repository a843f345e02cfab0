"""What Redis and another client see while something large goes on."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias, cast

import redis

from ..machine import Address, Server
from ..slices import Figure

__all__ = ["LONGEST", "Pipe", "Watch", "hush", "receive", "spawn", "watching"]

LONGEST = 20.0
"""Milliseconds that no call may take."""

FROM = 500
"""Microseconds from which a call goes into Redis's slow log here."""

ROOM = 200_000
"""Entries that the slow log has room for: none is pushed out in these runs."""

TIMEOUT = 120.0

spawn = multiprocessing.get_context("spawn")

# Only checkers know its parameters.
Pipe: TypeAlias = "Connection[bytes, bytes]"


def hush() -> None:
    """In a child: that the server keeps nothing on disk is meant so."""
    logging.basicConfig(level=logging.ERROR)


def receive(pipe: Pipe, seconds: float = TIMEOUT) -> bytes:
    """The next words of a child; an error where it is silent for so long."""
    if not pipe.poll(seconds):
        raise RuntimeError(f"a process of the benchmark said nothing for {seconds:.0f} seconds")
    return pipe.recv_bytes()


class Watch:
    """What was seen from its beginning to its end."""

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.slow: list[int] = []
        self.ping = 0.0
        self.ousted: int | None = None
        """How often the server had to leave its core to other work of the machine, in a call or
        not; ``None`` where the system does not tell."""

    @property
    def longest(self) -> float:
        """Milliseconds of the longest call."""
        return max(self.slow, default=FROM) / 1000

    def over(self, ms: float) -> int:
        return sum(us > ms * 1000 for us in self.slow)

    def figures(self, what: str, n: int) -> list[Figure]:
        """``n``: how many messages it was about."""
        told = f"{self.calls:,} calls in {self.seconds:.1f} s, {n / self.seconds:,.0f} messages/s"
        if self.slow:
            usual = statistics.median(self.slow) / 1000
            told += (
                f"; the slow log has {len(self.slow):,} of over {FROM / 1000:g} ms, the median "
                f"{usual:.1f} ms, {self.over(LONGEST / 2):,} of over {LONGEST / 2:g} ms, "
                f"{self.over(LONGEST):,} of over {LONGEST:g} ms"
            )
        else:
            told += f"; the slow log, from {FROM / 1000:g} ms, has none"
        if self.ousted is not None:
            told += f"; other processes took the server's core {self.ousted:,} times"
        return [
            Figure(
                f"{what}, longest call",
                self.longest,
                unit="ms",
                goal=LONGEST,
                at_most=True,
                detail=told,
            ),
            Figure(
                f"{what}, longest `PING` of another client",
                self.ping,
                unit="ms",
                detail="one every 2 ms, and what its own core had to do besides",
            ),
        ]


@contextlib.contextmanager
def watching(server: Server) -> Iterator[Watch]:
    """Redis's own slow log and counters, and another client that pings."""
    watch = Watch()
    for name, value in (("slowlog-log-slower-than", FROM), ("slowlog-max-len", ROOM)):
        server.command("CONFIG", "SET", name, value)
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_ping, args=(server.address, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        receive(ours)
        server.command("SLOWLOG", "RESET")
        server.reset()
        pid = server.pid
        before = _ousted(pid)
        began = time.perf_counter()
        yield watch
        watch.seconds = time.perf_counter() - began
        after = _ousted(pid)
        watch.ousted = None if before is None or after is None else after - before
        watch.calls = server.calls().get("evalsha", (0, 0.0))[0]
        watch.slow = _slow(server)
        ours.send_bytes(b"stop")
        watch.ping = int(receive(ours)) / 1e6
    finally:
        process.terminate()
        process.join(TIMEOUT)
        ours.close()


def _ousted(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("nonvoluntary_ctxt_switches:"):
                return int(line.split()[1])
    return None


def _slow(server: Server) -> list[int]:
    """Microseconds of each script in the slow log: nothing else is sent meanwhile."""
    entries = server.command("SLOWLOG", "GET", ROOM)
    assert isinstance(entries, list)
    found: list[int] = []
    for entry in cast("list[list[object]]", entries):
        took, words = entry[2], cast("list[bytes]", entry[3])
        assert isinstance(took, int)
        # Some servers also log the commands inside of a script, of which it consists.
        if words[0].upper() in (b"EVALSHA", b"EVAL"):
            found.append(took)
    if len(found) >= ROOM:
        raise RuntimeError("the slow log ran over: some calls were not seen")
    return found


def _ping(address: Address, pipe: Pipe) -> None:
    hush()
    longest = 0
    with contextlib.closing(redis.Redis(host="127.0.0.1", port=address.port)) as client:
        client.execute_command("PING")
        pipe.send_bytes(b"ready")
        while not pipe.poll(0.002):
            began = time.monotonic_ns()
            client.execute_command("PING")
            longest = max(longest, time.monotonic_ns() - began)
    pipe.send_bytes(b"%d" % longest)
