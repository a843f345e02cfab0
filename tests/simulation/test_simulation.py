"""Some episodes of the simulation in the quick suite; ``make simulation`` plays many more."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.servers import RunningServer

from .runner import EPISODE
from .server import start_server
from .world import Tally, play

FIRST = 1 if os.environ.get("CI") else random.SystemRandom().randrange(10**9)


@pytest.fixture
def running(server_kind: str) -> Iterator[RunningServer]:
    with start_server(server_kind) as one:
        yield one


def test_no_fault_breaks_a_promise(running: RunningServer) -> None:
    """Elsewhere than on CI each run has seeds of its own; a failure names the one."""
    total = Tally()
    for seed in range(FIRST, FIRST + 4):
        total.add(play(running, seed, EPISODE))
    assert total.steps >= 4 * EPISODE
    assert total.messages > 100


@pytest.mark.servers("valkey")
def test_a_seed_plays_the_same_episode_again(running: RunningServer) -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        play(running, 9, EPISODE, trace=trace)
    assert len(traces[0]) > EPISODE
    assert traces[0] == traces[1]


@pytest.mark.servers("valkey")
def test_every_fault_comes_up(running: RunningServer) -> None:
    total = Tally()
    for seed in range(1, 8):
        total.add(play(running, seed, EPISODE))
    wanted = {"request lost", "reply lost", "late duplicate", "arrived late", "script flush"}
    wanted |= {"clock step", "crashed", "frozen", "out of memory", "foreign counters"}
    assert wanted <= {name for name, count in total.faults.items() if count}
