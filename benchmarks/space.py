"""What messages cost in Redis's memory, and whether a consumer's own memory grows."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from typed_rmq import Queue

from .machine import Address, Server
from .payload import PAYLOAD_BYTES, Order, Orders
from .slices import Figure

__all__ = ["backlog", "growth"]

QUEUE = "bench-space"
CHUNK = 10_000
MOST_READY = 50_000
TIMEOUT = 120.0

_spawn = multiprocessing.get_context("spawn")


def backlog(server: Server, orders: Orders, n: int) -> list[Figure]:
    """Bytes per message of ``n`` ready messages, and per dedup key."""
    with Queue[Order](QUEUE, server.address.url) as queue:
        queue.publish_many(orders.models(1))
        server.empty()
        before = server.used_memory()
        for _ in range(0, n, CHUNK):
            queue.publish_many(orders.models(min(n, CHUNK)))
        after = server.used_memory()
        stored = queue.stats().ready
        key = f"trmq:{{{QUEUE}}}:ready:normal"
        usage = server.command("MEMORY", "USAGE", key, "SAMPLES", 0)
    if not isinstance(usage, int):
        raise RuntimeError(f"{key} does not hold the backlog: its layout has changed")
    server.empty()
    detail = f"{stored:,} messages, payload {PAYLOAD_BYTES} bytes"
    return [
        Figure(
            "backlog, bytes a message",
            usage / stored,
            unit="B",
            goal=PAYLOAD_BYTES + 100,
            at_most=True,
            detail=detail,
        ),
        Figure(
            "deduplication, bytes a key, for its window",
            (after - before - usage) / stored,
            unit="B",
            detail="the rest of what the server's memory grew by",
        ),
    ]


def growth(address: Address, orders: Orders, n: int) -> Figure:
    """How much larger a consuming process is after ``n`` messages than after a tenth of them."""
    warm = max(1, n // 10)
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=_consume, args=(address, theirs, warm, n + warm), daemon=True)
    process.start()
    theirs.close()
    try:
        with Queue[Order](QUEUE, address.url, dedup=None) as queue:
            for _ in range(0, n + warm, CHUNK):
                queue.publish_many(orders.models(min(CHUNK, n + warm)))
                while queue.stats().ready > MOST_READY:
                    time.sleep(0.005)
            sizes: list[int] = []
            for _ in range(2):
                if not ours.poll(TIMEOUT):
                    raise RuntimeError("the consumer of the growth test said nothing for too long")
                sizes.append(int(ours.recv_bytes()))
    finally:
        process.terminate()
        process.join(TIMEOUT)
        ours.close()
    first, last = sizes
    return Figure(
        f"a consumer's memory after {n:,} messages more, growth",
        (last - first) / 2**20,
        unit="MiB",
        goal=1.0,
        at_most=True,
        detail=f"{first / 2**20:.1f} MiB, then {last / 2**20:.1f} MiB",
    )


def _consume(address: Address, pipe: Connection[bytes, bytes], warm: int, total: int) -> None:
    queue = Queue[Order](QUEUE, address.url, dedup=None)
    marks = {warm, total}
    count = 0
    with contextlib.suppress(BrokenPipeError):
        for _msg in queue:
            count += 1
            if count in marks:
                pipe.send_bytes(b"%d" % _resident())


def _resident() -> int:
    """Bytes of this process in memory; where the system does not tell, the most there ever were."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
