"""Many queues that nobody uses right now: all of them held by one process, each with a message."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from typed_rmq import Connection, Queue
from typed_rmq.resting import MAX_RESTING

from ..machine import Address, Server
from ..payload import Order, Orders
from ..slices import Figure
from .watching import TIMEOUT, Pipe, hush, receive, spawn

__all__ = ["idle"]

SETTLES = 1.0
"""Seconds after the last use: whatever lingers of it is over."""


def idle(server: Server, queues: int, quiet: float) -> list[Figure]:
    """What ``queues`` queues cost in ``quiet`` seconds."""
    empty_cpu, empty_commands = _watch(server, quiet)
    before = server.used_memory()
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_hold, args=(server.address, theirs, queues), daemon=True)
    process.start()
    theirs.close()
    try:
        held, made = (int(word) for word in receive(ours, TIMEOUT * 3).split())
        grown = server.used_memory() - before
        time.sleep(SETTLES)
        ours.send_bytes(b"begin")
        receive(ours)
        cpu, commands = _watch(server, quiet)
        ours.send_bytes(b"end")
        busy, threads = (int(word) for word in receive(ours).split())
        clients = int(str(server.info("clients")["connected_clients"]))
    finally:
        process.terminate()
        process.join(TIMEOUT)
        ours.close()
    return [
        Figure(
            f"commands of {queues:,} idle queues in {quiet:g} s",
            commands - empty_commands,
            unit="commands",
            goal=0,
            at_most=True,
            detail="nothing is sent for them, and nothing inside of Redis runs a command",
        ),
        Figure(
            "the server's CPU time meanwhile, more than without them",
            (cpu - empty_cpu) / quiet / 10,
            unit="% of a core",
            detail=f"{cpu / quiet / 10:.2f} % with them, {empty_cpu / quiet / 10:.2f} % without: "
            "its own housekeeping, such as of keys with an end",
        ),
        Figure(
            "the client's CPU time meanwhile",
            busy / 1e6 / quiet / 10,
            unit="% of a core",
            goal=0.1,
            at_most=True,
            detail=f"a process that holds all {queues:,} `Queue` objects, each used and open",
        ),
        Figure(
            "threads of that process",
            threads,
            unit="threads",
            goal=1,
            at_most=True,
            detail="and no event loop",
        ),
        Figure(
            "connections of that process",
            clients - 1,
            unit="connections",
            goal=MAX_RESTING + 2,
            at_most=True,
            detail="the queues share one `Connection`",
        ),
        Figure(
            "memory of a `Queue` object",
            held / queues / 1024,
            unit="KiB",
            detail=f"made and used at {queues / (made / 1e9):,.0f} queues/s: two messages "
            "published, one consumed",
        ),
        Figure(
            "Redis's memory of a queue that holds one message",
            grown / queues,
            unit="B",
            detail="with its counters, its bell, two deduplication keys, and lanes for an hour",
        ),
    ]


def _watch(server: Server, seconds: float) -> tuple[float, int]:
    """Milliseconds of CPU time, and commands but for our own."""
    server.reset()
    before = server.cpu_ns()
    time.sleep(seconds)
    spent = server.cpu_ns() - before
    own = ("info", "config", "select", "hello", "client")
    calls = server.calls().items()
    return spent / 1e6, sum(n for name, (n, _) in calls if name.split("|")[0] not in own)


def _hold(address: Address, pipe: Pipe, queues: int) -> None:
    hush()
    orders = Orders()
    with Connection(address.url) as connection:
        # What the first one costs is paid by whoever has one queue.
        _use(Queue[Order]("bench-first", connection), orders)
        before, began = _resident(), time.perf_counter_ns()
        held: list[Queue[Order]] = []
        for number in range(queues):
            held.append(Queue[Order](f"bench-idle-{number}", connection))
            _use(held[-1], orders)
        took = time.perf_counter_ns() - began
        pipe.send_bytes(b"%d %d" % (_resident() - before, took))
        pipe.recv_bytes()
        before = time.process_time_ns()
        pipe.send_bytes(b"begun")
        pipe.recv_bytes()
        spent = time.process_time_ns() - before
        pipe.send_bytes(b"%d %d" % (spent, threading.active_count()))
        pipe.recv_bytes()


def _use(queue: Queue[Order], orders: Orders) -> None:
    for model in orders.models(2):
        queue.publish(model)
    for _msg in queue.consume(max_messages=1):
        pass


def _resident() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
