"""The pytest plugin, found by pytest itself: the fixtures ``rmq_redis``, ``rmq_queue``, and
``rmq_faults``.

See ``docs/testing.md``.
"""  # noqa: D205 - a list

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from . import Proxy, QueueFactory, RedisForTests

__all__ = ["rmq_faults", "rmq_queue", "rmq_redis", "rmq_server"]

INI: Final = "rmq_set_redis_url"

_running: Final = pytest.StashKey[contextlib.ExitStack]()
_server: Final = pytest.StashKey["RedisForTests"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Tell pytest of the one setting."""
    parser.addini(
        INI,
        "typed_rmq: start the test server before the tests are imported, and let REDIS_URL name it",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the server early where asked for, but not in the process that only controls xdist's."""
    controls = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if config.getini(INI) and not controls:
        os.environ["REDIS_URL"] = _started(config).url


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server."""
    stack = config.stash.get(_running, None)
    if stack is not None:
        stack.close()


def _started(config: pytest.Config) -> RedisForTests:
    if _server not in config.stash:
        from . import redis_for_tests

        stack = contextlib.ExitStack()
        config.stash[_server] = stack.enter_context(redis_for_tests())
        config.stash[_running] = stack
    return config.stash[_server]


@pytest.fixture(scope="session")
def rmq_server(request: pytest.FixtureRequest) -> RedisForTests:
    """The server of this run, or of this xdist worker; not emptied."""
    return _started(request.config)


@pytest.fixture
def rmq_redis(rmq_server: RedisForTests, monkeypatch: pytest.MonkeyPatch) -> RedisForTests:
    """A real, empty Redis, which ``REDIS_URL`` names while the test runs."""
    monkeypatch.setenv("REDIS_URL", rmq_server.url)
    rmq_server.empty()
    return rmq_server


@pytest.fixture
def rmq_queue(rmq_redis: RedisForTests, request: pytest.FixtureRequest) -> Iterator[QueueFactory]:
    """Makes queues on ``rmq_redis``: ``rmq_queue(Order)``. They are closed after the test."""
    from . import QueueFactory

    factory = QueueFactory(rmq_redis.url)
    if isinstance(request.node, pytest.Function) and inspect.iscoroutinefunction(request.node.obj):
        # Connections of asyncio can be closed by their own event loop only, which is the test's.
        request.node.obj = _closing(request.node.obj, factory)
    yield factory
    factory.close()


def _closing(
    test: Callable[..., Awaitable[object]], factory: QueueFactory
) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def closes(*args: object, **kwargs: object) -> None:
        try:
            await test(*args, **kwargs)
        finally:
            await factory.aclose()

    return closes


@pytest.fixture
def rmq_faults(rmq_redis: RedisForTests) -> Iterator[Proxy]:
    """A proxy before ``rmq_redis`` that loses requests and replies, is slow, or is down."""
    from . import Proxy

    with Proxy(rmq_redis.url) as proxy:
        yield proxy
