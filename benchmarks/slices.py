"""Slices of a fraction of a second, in turns, so that a busy moment of the machine hits all alike.

A ratio is taken within each round, of slices that were measured within seconds of each other;
what is reported is the median of the rounds, with the lowest and the highest.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["Case", "Figure", "alternate", "ratio"]


@dataclass
class Case:
    """One way of doing something many times.

    Attributes:
        name: for the table.
        run: does it ``n`` times and returns the nanoseconds it took, preparations left out.
        guess: operations a second, for the size of the first slice.
        step: ``n`` is a multiple of this.
        rates: operations a second, one figure for each round.
    """

    name: str
    run: Callable[[int], int]
    guess: float
    step: int = 1
    rates: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes:
        name: what was measured.
        value: the median, or the figure itself.
        low, high: the extremes of the rounds; ``None`` where there is one figure only.
        unit: ``x`` for a ratio.
        goal: what it should reach; ``None`` where it is only told.
        at_most: the goal is an upper bound.
        detail: the absolute figures behind it.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = "x"
    goal: float | None = None
    at_most: bool = False
    detail: str = ""

    @property
    def reached(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def alternate(cases: Sequence[Case], rounds: int, seconds: float) -> None:
    """Run every case once a round, in an order that turns round; the first round only warms up."""
    guesses = {case.name: case.guess for case in cases}
    for number in range(-1, rounds):
        for case in cases if number % 2 else reversed(cases):
            share = seconds if number >= 0 else seconds / 3
            n = max(1, round(guesses[case.name] * share / case.step)) * case.step
            rate = n / case.run(n) * 1e9
            guesses[case.name] = rate
            if number >= 0:
                case.rates.append(rate)


def ratio(ours: Case, raw: Case, goal: float | None = None) -> Figure:
    """How many of ours in the time of one raw call, round by round."""
    ratios = [mine / theirs for mine, theirs in zip(ours.rates, raw.rates, strict=True)]
    return Figure(
        f"{ours.name} / {raw.name}",
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        goal=goal,
        detail=f"{ours.rate:,.0f}/s, raw {raw.rate:,.0f}/s",
    )
