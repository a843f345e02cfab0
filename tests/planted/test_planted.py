"""Each planted fault is noticed; without one, nothing is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.lua.test_wrong_types import MAKERS
from tests.servers import RunningServer
from tests.simulation.server import start_server

from .faults import IN_THE_MIDDLE, PLANTED
from .proving import found_by_simulation, lost_in_the_middle

pytestmark = pytest.mark.servers("valkey")

QUICK = ("no fence", "ack by id alone", "dead letter in two steps", "no operation number: cycle")
QUICK_MOVES = ("cycle", "cycle short", "reap", "redrive")
MOVES = [name for name in MAKERS if "dropping" not in name and name not in ("purge", "renew")]


@pytest.fixture
def running(server_kind: str) -> Iterator[RunningServer]:
    with start_server(server_kind) as one:
        yield one


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PLANTED],
)
def test_the_simulation_notices(running: RunningServer, name: str) -> None:
    planted = PLANTED[name]
    found = found_by_simulation(running, planted)
    assert found is not None, f"{name}: not noticed"
    assert planted.says in found[1]


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK_MOVES else pytest.param(name, marks=pytest.mark.slow) for name in MOVES],
)
def test_a_call_that_ends_in_the_middle_loses_nothing(
    client: redis.Redis, queue_name: str, name: str
) -> None:
    """F41: a right that is missing, in each script, for each command that writes."""
    assert lost_in_the_middle(client, queue_name, name) == {}


@pytest.mark.parametrize("name", IN_THE_MIDDLE)
def test_removing_before_copying_is_noticed(
    client: redis.Redis, queue_name: str, name: str
) -> None:
    scenario, mutants = IN_THE_MIDDLE[name]
    assert lost_in_the_middle(client, queue_name, scenario, mutants)
