"""``python -m benchmarks.scaling``: ``run(processes=N)`` with a handler that computes."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import statistics
import threading
import time
from collections.abc import Sequence

from typed_rmq import Queue

from .machine import Server, facts, running
from .together import DOCS, replace_in_docs

__all__ = ["PROCESSES", "measure", "table"]

PROCESSES = (1, 2, 4)


def compute(number: int) -> None:
    """About a millisecond of the processor's time."""
    hashlib.pbkdf2_hmac("sha256", b"%d" % number, b"salt", 1_500)


def measure(server: Server, processes: int, messages: int) -> float:
    """Messages a second, once all processes are there."""
    name = f"scaling-{processes}"
    took = 0.0

    def feed() -> None:
        nonlocal took
        with Queue[int](name, server.unix.url) as other:
            while len(other.consumers()) < processes:
                time.sleep(0.02)
            began = time.perf_counter()
            other.publish_many(range(messages))
            while other.stats().completed < messages:
                time.sleep(0.005)
            took = time.perf_counter() - began

    feeder = threading.Thread(target=feed)
    feeder.start()
    with Queue[int](name, server.address.url) as queue:
        queue.run(compute, processes=processes, idle_timeout=3.0)
    feeder.join()
    server.empty()
    return messages / took


def table(rates: dict[int, list[float]]) -> list[str]:
    """For the docs, and to read."""
    one = statistics.median(rates[1])
    return [
        "| processes | messages | of one process |",
        "|---|---|---|",
        *(
            f"| {n} | {statistics.median(found):,.0f}/s ({min(found):,.0f} to {max(found):,.0f}) "
            f"| {statistics.median(found) / one:.2f}x |"
            for n, found in rates.items()
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=4_000)
    parser.add_argument("--save", action="store_true", help="write the table into the docs")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.CRITICAL)
    with running(None, pinned=False) as server:
        print(f"{os.cpu_count()} cores;", ", ".join(f"{k} {v}" for k, v in facts(server).items()))
        rates: dict[int, list[float]] = {n: [] for n in PROCESSES}
        for _ in range(options.rounds):
            for n in PROCESSES:
                rates[n].append(measure(server, n, options.messages))
    lines = table(rates)
    print("\n".join(lines))
    if options.save:
        replace_in_docs(lines, DOCS, "scaling")


if __name__ == "__main__":
    main()
