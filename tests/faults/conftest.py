"""Fixtures of the fault tests: processes, a queue to look with, a proxy that cuts connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.actors import Actor
from tests.faults.proxy import Proxy
from tests.servers import RunningServer
from typed_rmq import Queue

Act = Callable[..., Actor]


@pytest.fixture
def act(redis_url: str, queue_name: str) -> Iterator[Act]:
    """``act(source, *arguments)`` starts an ``Actor`` on the test's queue."""
    actors: list[Actor] = []

    def start(source: str, *arguments: object, url: str | None = None) -> Actor:
        actors.append(Actor(source, url or redis_url, queue_name, *arguments))
        return actors[-1]

    yield start
    for actor in actors:
        actor.close()


@pytest.fixture
def numbers(redis_url: str, queue_name: str) -> Iterator[Queue[int]]:
    """The test's queue, to publish into and to look at."""
    with Queue[int](queue_name, redis_url, dedup=None) as queue:
        yield queue


@pytest.fixture
def proxy(server: RunningServer) -> Iterator[Proxy]:
    """A TCP proxy before the server."""
    assert server.port is not None
    with Proxy(server.port) as proxy:
        yield proxy
