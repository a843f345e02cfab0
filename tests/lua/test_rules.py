"""The ten rules of the protocol, on every server; and each of them breaks without its line.

A mutant is a script with one line changed. Where a scenario still passed with it, the scenario
would prove nothing: so it must fail.
"""

from __future__ import annotations

import pytest
import redis

from tests.servers import RunningServer

from . import rules_lanes, rules_queue
from .cases import CASES, Case
from .kit import Kit, Mutant

assert rules_lanes, rules_queue

MUTANTS = [(case, mutant) for case in CASES for mutant in case.mutants]


@pytest.mark.parametrize("general", [False, True], ids=["short", "long"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule(
    case: Case, general: bool, server: RunningServer, client: redis.Redis, queue_name: str
) -> None:
    case.scenario(Kit(client, queue_name, general=general))


@pytest.mark.servers("valkey")
@pytest.mark.parametrize(
    ("case", "mutant"),
    MUTANTS,
    ids=[f"{case}-{number}" for number, (case, _) in enumerate(MUTANTS)],
)
def test_without_its_line_the_rule_breaks(
    case: Case, mutant: Mutant, server: RunningServer, client: redis.Redis, queue_name: str
) -> None:
    with pytest.raises(AssertionError):
        case.scenario(Kit(client, queue_name, mutant))


def test_every_rule_has_its_cases() -> None:
    assert {case.rule for case in CASES} == {"1", "2", "5", "6", "7", "8", "9", "10"}
    assert all(case.mutants for case in CASES)
    # Rules 3 and 4 have files of their own: test_wrong_types.py and test_out_of_memory.py.
