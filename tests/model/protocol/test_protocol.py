"""With all rules the model holds, in every state; without any one of them it breaks, as expected.

A search that ends without having found anything says that it visited all states. One that found
something prints the shortest way there, in words.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from .cases import CASES
from .rules import RULES, switched_off
from .search import World, explore
from .worlds import FULL, LARGE, QUICK


def named(world: World) -> str:
    return f"{type(world).__name__}: {world.name}"


@pytest.mark.parametrize("world", QUICK, ids=named)
def test_all_states_hold(world: World) -> None:
    _search_to_the_end(world)


@pytest.mark.slow
@pytest.mark.parametrize("world", FULL, ids=named)
def test_all_states_of_more_worlds_hold(world: World) -> None:
    _search_to_the_end(world)


def _search_to_the_end(world: World) -> None:
    found = explore(world)
    print(found)
    assert found.violated is None, str(found)
    assert found.complete
    assert found.states > 1_000


@pytest.mark.parametrize("world", LARGE, ids=named)
def test_larger_worlds_begin(world: World) -> None:
    """The soak searches these; here it is seen that they can be searched at all."""
    found = explore(world, limit=2_000, compact=True)
    assert found.violated is None, str(found)
    assert not found.complete, "this one is not larger"


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_without_the_rule_it_breaks(name: str) -> None:
    case = CASES[name]
    held = explore(case.world)
    assert held.violated is None, str(held)
    assert held.complete
    found = explore(case.world.without(switched_off([name])))
    print(f"Without {name} ({RULES[name]}):\n{found}")
    assert found.violated == case.breaks, str(found)


def test_each_of_the_ten_rules_has_its_parts() -> None:
    assert {name.split("-")[0] for name in RULES} == {str(number) for number in range(1, 11)}
    assert CASES.keys() == RULES.keys()


def test_hashes_in_place_of_states_find_the_same() -> None:
    for name in ("1-old-is-refused", "1-repeat-brings-all-held"):
        world = CASES[name].world.without(switched_off([name]))
        one, other = explore(world), explore(world, compact=True)
        assert (one.trace, one.violated, one.states) == (other.trace, other.violated, other.states)


def test_the_command_shows_the_shortest_way() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.model.protocol", "--off", "1-repeat-is-answered"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "the answer is lost" in done.stdout
    assert "publish is exactly once" in done.stdout
