"""The register of what the scripts promise, and of the faults that each promise must catch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .kit import Kit, Mutant

Scenario = Callable[[Kit], None]


@dataclass(frozen=True)
class Case:
    """A scenario that holds with the scripts as they are, and fails with any of the mutants."""

    rule: str
    scenario: Scenario
    mutants: tuple[Mutant, ...]

    def __str__(self) -> str:
        return f"{self.rule}-{self.scenario.__name__}"


CASES: list[Case] = []


def rule(number: str, *mutants: tuple[str, str, str]) -> Callable[[Scenario], Scenario]:
    """Registers a scenario for a rule of the protocol, with the faults that must break it."""

    def register(scenario: Scenario) -> Scenario:
        planted = tuple(Mutant(*mutant) for mutant in mutants)
        CASES.append(Case(number, scenario, planted))
        return scenario

    return register
