"""How many requests a consumer sends: while it idles, and in a batch loop."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

from typed_rmq import Queue

from .machine import Address, Server, running
from .payload import Order, Orders
from .slices import Figure

__all__ = ["Idler", "idler", "per_message"]

QUEUE = "bench-idle"
TIMEOUT = 20.0

_spawn = multiprocessing.get_context("spawn")


class Idler:
    """An idle consumer on a server of its own, counted while the other measurements run."""

    def __init__(self, server: Server, lease: float) -> None:
        self._server = server
        self._lease = lease
        self._began = time.monotonic()
        server.reset()

    def figure(self) -> Figure:
        """Waits until the count has lasted for one lease at least."""
        time.sleep(max(0.0, self._began + self._lease - time.monotonic()))
        leases = (time.monotonic() - self._began) / self._lease
        count = self._server.requests()
        return Figure(
            "an idle consumer, requests a lease",
            count / leases,
            unit="",
            goal=9.99,
            at_most=True,
            detail=f"{count} in {leases * self._lease:.0f} s, lease {self._lease:.0f} s",
        )


@contextlib.contextmanager
def idler(binary: str | None, lease: float) -> Iterator[Idler]:
    """Starts counting when the consumer waits."""
    with running(binary) as server:
        ours, theirs = _spawn.Pipe()
        args = (server.address, theirs, lease)
        process = _spawn.Process(target=_idle, args=args, daemon=True)
        process.start()
        theirs.close()
        try:
            with Queue[Order](QUEUE, server.address.url) as queue:
                queue.publish(Orders().models(1)[0])
            if not ours.poll(TIMEOUT):
                raise RuntimeError("the idle consumer did not start")
            # What the last message leaves to do is done by then.
            time.sleep(0.5)
            yield Idler(server, lease)
        finally:
            process.terminate()
            process.join(TIMEOUT)
            ours.close()


def _idle(address: Address, pipe: Connection[bytes, bytes], lease: float) -> None:
    for _msg in Queue[Order](QUEUE, address.url, lease=lease):
        pipe.send_bytes(b"one")


def per_message(server: Server, orders: Orders, n: int) -> list[Figure]:
    """Requests, and the server's own time, for each message of a loop with default settings."""
    with Queue[Order](QUEUE, server.address.url) as queue:
        queue.publish_many(orders.models(n))
        server.reset()
        count = sum(1 for _ in queue.consume(until_empty=True))
        requests, calls = server.requests(), server.calls()
        server.reset()
        queue.publish_many(orders.models(n))
        stored = server.calls()
    server.empty()
    return [
        Figure("loop, requests a message", requests / count, unit="", detail=f"{requests} in all"),
        _busy("loop, the server's time a message", calls, count),
        _busy("publish_many, the server's time a message", stored, n),
    ]


def _busy(name: str, calls: dict[str, tuple[int, float]], n: int) -> Figure:
    # Scripts' time includes that of the commands inside.
    spent = calls.get("evalsha", (0, 0.0))[1] + calls.get("eval", (0, 0.0))[1]
    return Figure(name, spent / n, unit="µs")
