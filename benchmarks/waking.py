"""How soon an idle consumer in another process has a message, against a raw BLPOP hand-over.

Both consumers wait at the same time, each on its own; a sample of ours and one of theirs take
turns, and each consumer has been idle for longer than anything of its last message lingers. The
clock is CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import TypeAlias

from typed_rmq import Queue

from .machine import Address
from .payload import Order, Orders
from .slices import Figure

__all__ = ["wake_up"]

QUEUE = "bench-wake"
RAW_KEY = "raw-wake"
IDLE = 0.06
"""Seconds before each sample. Every consumer idles for twice as long: its keeper has ended then."""

GROUPS = 7
TIMEOUT = 20.0
_READY = b"ready"

# Only checkers know its parameters.
Pipe: TypeAlias = "Connection[bytes, bytes]"

_spawn = multiprocessing.get_context("spawn")


def _typed(address: Address, pipe: Pipe) -> None:
    queue = Queue[Order](QUEUE, address.url)
    pipe.send_bytes(_READY)
    for _msg in queue:
        pipe.send_bytes(b"%d" % time.monotonic_ns())


def _raw(address: Address, pipe: Pipe) -> None:
    client = address.raw()
    pipe.send_bytes(_READY)
    while True:
        # The client's own socket timeout is 5 seconds.
        if client.blpop([RAW_KEY], timeout=4) is not None:
            pipe.send_bytes(b"%d" % time.monotonic_ns())


@contextlib.contextmanager
def _consumer(target: Callable[[Address, Pipe], None], address: Address) -> Iterator[Pipe]:
    """A consumer in a process of its own, on the core of its parent."""
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=target, args=(address, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        _receive(ours)
        yield ours
    finally:
        process.terminate()
        process.join(TIMEOUT)
        ours.close()


def _receive(pipe: Pipe) -> bytes:
    if not pipe.poll(TIMEOUT):
        raise RuntimeError(f"a consumer said nothing for {TIMEOUT:.0f} seconds")
    return pipe.recv_bytes()


def wake_up(address: Address, orders: Orders, samples: int) -> list[Figure]:
    """The time from the start of a publish call to the first line of the loop's body."""
    ours: list[float] = []
    theirs: list[float] = []
    with (
        Queue[Order](QUEUE, address.url) as queue,
        contextlib.closing(address.raw()) as client,
        _consumer(_typed, address) as typed,
        _consumer(_raw, address) as raw,
    ):
        models, items = orders.models(samples + 2), orders.raw(samples + 2)
        for model, item in zip(models, items, strict=True):
            time.sleep(IDLE)
            began = time.monotonic_ns()
            queue.publish(model)
            ours.append((int(_receive(typed)) - began) / 1000)
            time.sleep(IDLE)
            began = time.monotonic_ns()
            client.lpush(RAW_KEY, item)
            theirs.append((int(_receive(raw)) - began) / 1000)
    # The first two open connections and load scripts.
    del ours[:2], theirs[:2]
    return [_compared(ours, theirs, 0.5, 1.5), _compared(ours, theirs, 0.99, None)]


def _compared(ours: list[float], theirs: list[float], share: float, goal: float | None) -> Figure:
    mine, raw = _percentile(ours, share), _percentile(theirs, share)
    low = high = None
    if share == 0.5 and len(ours) >= 10 * GROUPS:
        size = len(ours) // GROUPS
        medians = [
            statistics.median(ours[at : at + size]) / statistics.median(theirs[at : at + size])
            for at in range(0, size * GROUPS, size)
        ]
        low, high = min(medians), max(medians)
    return Figure(
        f"wake-up of an idle consumer / raw BLPOP hand-over, p{share * 100:.0f}",
        mine / raw,
        low,
        high,
        goal=goal,
        at_most=True,
        detail=f"{mine:,.0f} µs, raw {raw:,.0f} µs",
    )


def _percentile(values: list[float], share: float) -> float:
    """The nearest rank."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]
