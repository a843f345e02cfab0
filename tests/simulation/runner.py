"""Many episodes, in one process or in several."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence

from tests.lua.kit import Mutant

from .server import start_server
from .world import Failure, Tally, play

__all__ = ["EPISODE", "report", "simulate"]

EPISODE = 600
"""Steps of an episode, before it drains."""


def simulate(
    first: int,
    steps: int,
    *,
    jobs: int = 1,
    kind: str = "valkey",
    mutants: Sequence[Mutant] = (),
    seconds: float | None = None,
) -> Tally:
    """Episodes with the seeds from ``first`` on until so many steps are done, or time is over."""
    if jobs == 1:
        return _some(first, 1, steps, kind, mutants, seconds)
    total = Tally()
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        shares = [
            (first + job, jobs, -(-steps // jobs), kind, mutants, seconds) for job in range(jobs)
        ]
        for tally, failure in pool.starmap(_caught, shares):
            if failure is not None:
                raise Failure(failure, total)
            total.add(tally)
    return total


def _some(
    first: int,
    stride: int,
    steps: int,
    kind: str,
    mutants: Sequence[Mutant],
    seconds: float | None,
) -> Tally:
    total, seed, end = Tally(), first, time.monotonic() + (seconds or 10**9)
    with start_server(kind) as running:
        while total.steps < steps and time.monotonic() < end:
            try:
                total.add(play(running, seed, EPISODE, mutants=mutants))
            except Failure as failure:
                total.add(failure.tally)
                failure.tally = total
                raise
            seed += stride
    return total


def _caught(
    first: int,
    stride: int,
    steps: int,
    kind: str,
    mutants: Sequence[Mutant],
    seconds: float | None,
) -> tuple[Tally, str | None]:
    try:
        return _some(first, stride, steps, kind, mutants, seconds), None
    except Failure as failure:
        return failure.tally, str(failure)


def report(tally: Tally, seconds: float) -> str:
    faults = {name: n for name, n in sorted(tally.faults.items()) if name != "answer"}
    happened = ", ".join(f"{name} {count}" for name, count in faults.items())
    return (
        f"{tally.episodes} episodes, {tally.steps} steps, {tally.calls} calls to Redis, "
        f"{tally.audits} audits in {seconds:.0f} s: no promise was broken\n"
        f"{tally.messages} messages, {tally.deliveries} deliveries, "
        f"{sum(faults.values())} faults: {happened}"
    )
