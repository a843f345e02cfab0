"""Fixtures for every test: real servers, names for queues, and the check that nothing is left.

- ``server``: a running server; a test that uses it runs once for each kind (``--servers``).
- ``redis_url``, ``client``: its address, and a ``redis.Redis`` on it.
- ``queue_name``: a name that no other test has.
- ``make_server``: a server of the test's own, with options of its own, to kill or to stop.
- ``run_async``: runs a coroutine, with a time limit.

After each test no thread, no asyncio task, no socket, and no key outside of ``trmq:`` is left. A
test that must leave something says so: ``@pytest.mark.leaves("threads")``.
"""

from __future__ import annotations

import asyncio
import asyncio.runners
import gc
import os
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import redis
from hypothesis import settings

from benchmarks import callgrind
from tests.servers import KINDS, RunningServer, available, chromium, speaks_tls, start
from typed_rmq import keeper

R = TypeVar("R")

SETTLE_SECONDS = float(os.environ.get("SETTLE_SECONDS", "5"))
"""How long threads and sockets have to go away after a test: long, for machines that are busy."""

DESCRIPTORS = "/proc/self/fd"

ASYNC_LIMIT = 60.0
"""Seconds that ``run_async`` lets a coroutine take."""

# On CI a run must depend on the code alone; elsewhere new examples are welcome.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# -------------------------------------------------------------------- servers

_running: dict[str, RunningServer] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers",
        default="",
        help=f"run on these servers only: {','.join(KINDS)} (default: all that are found)",
    )
    parser.addoption(
        "--spread",
        action="store_true",
        help="run each test on one of the servers, on another with each version of Python",
    )


def _chosen(config: pytest.Config) -> list[str]:
    """The kinds to run on; an error where one that was asked for is not there."""
    asked = [kind for kind in config.getoption("--servers").split(",") if kind]
    missing = available()
    for kind in asked:
        if kind not in KINDS:
            raise pytest.UsageError(f"--servers: {kind!r} is none of {', '.join(KINDS)}")
        if missing[kind]:
            raise pytest.UsageError(f"--servers: {kind} {missing[kind]}")
    chosen = asked or [kind for kind, why in missing.items() if not why]
    if not chosen:
        raise pytest.UsageError(f"no Redis server found: {missing}")
    return chosen


_kinds = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_kinds] = _chosen(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_kind" not in metafunc.fixturenames:
        return
    kinds = metafunc.config.stash[_kinds]
    marker = metafunc.definition.get_closest_marker("servers")
    if marker is not None:
        kinds = [kind for kind in kinds if kind in marker.args]
    if metafunc.config.getoption("--spread") and kinds:
        turn = zlib.crc32(metafunc.definition.nodeid.encode()) + sys.version_info.minor
        kinds = [kinds[turn % len(kinds)]]
    metafunc.parametrize("server_kind", kinds, scope="session")


def pytest_collection_finish() -> None:
    """Leave what is there by now, modules and tests, out of garbage collection.

    None of it is garbage before the end, but ``nothing_left`` would look through it again after
    every other test: that was half of their time.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say loudly which servers the run did not cover."""
    chosen = config.stash.get(_kinds, [])
    missing = available()
    for kind in KINDS:
        if kind not in chosen:
            text = f"NOT COVERED: server {kind}: {missing[kind] or 'left out by --servers'}"
            terminalreporter.write_line(text, yellow=True, bold=True)
        elif not speaks_tls(kind):
            text = f"NOT COVERED: TLS on server {kind}: its binary is built without it"
            terminalreporter.write_line(text, yellow=True, bold=True)
    if chromium() is None:
        text = "NOT COVERED: the dashboard in a browser: apt-get install chromium"
        terminalreporter.write_line(text, red=True, bold=True)
    if callgrind.version() is None:
        text = f"NOT COVERED: counting instructions: {callgrind.HOW_TO_INSTALL}"
        terminalreporter.write_line(text, red=True, bold=True)
    if not any(speaks_tls(kind) for kind in chosen):
        text = "NOT COVERED: TLS, on any server: apt-get install redis-server"
        terminalreporter.write_line(text, red=True, bold=True)


@pytest.fixture(scope="session")
def server_kind() -> str:
    """The kind of server: a parameter, see ``pytest_generate_tests``."""
    raise AssertionError("parametrized by pytest_generate_tests")


@pytest.fixture(scope="session")
def server(server_kind: str) -> RunningServer:
    """A running server, started at its first use and shared by the tests of this process."""
    if server_kind not in _running:
        _running[server_kind] = start(server_kind, tcp=True)
        _running[server_kind].keep()
    return _running[server_kind]


@pytest.fixture
def redis_url(server: RunningServer) -> str:
    """The server's address, for ``redis=``."""
    return server.url


@pytest.fixture
def client(server: RunningServer) -> Iterator[redis.Redis]:
    """A client of the server, to look and to meddle."""
    with server.client() as client:
        yield client


@pytest.fixture
def queue_name() -> str:
    """A name that no other test has."""
    return f"q-{uuid.uuid4().hex[:12]}"


class MakeServer(Protocol):
    """``make_server("redis7", "--maxmemory", "10mb", tcp=True)``; see ``servers.start``."""

    def __call__(
        self,
        kind: str = "valkey",
        *options: str,
        tcp: bool = False,
        port: int | None = None,
        folder: Path | None = None,
    ) -> RunningServer: ...


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Servers of the test's own, killed when it ends."""
    made: list[RunningServer] = []

    def make(kind: str = "valkey", *options: str, **where: Any) -> RunningServer:
        made.append(start(kind, *options, **where))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def pytest_sessionfinish() -> None:
    for one in _running.values():
        one.stop()
    _running.clear()


# ------------------------------------------------------------------- coroutines


@pytest.fixture
def run_async() -> Callable[[Coroutine[Any, Any, R]], R]:
    """Run a coroutine in a new event loop, for at most ``ASYNC_LIMIT`` seconds."""

    def run(coroutine: Coroutine[Any, Any, R]) -> R:
        async def limited() -> R:
            async with asyncio.timeout(ASYNC_LIMIT):
                return await coroutine

        return asyncio.run(limited())

    return run


# ------------------------------------------------------------ nothing is left

_tasks_left: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def watch_tasks() -> Iterator[None]:
    """Note the tasks that ``asyncio.run`` finds unfinished at its end, and cancels in silence."""
    original = asyncio.runners._cancel_all_tasks

    def watched(loop: asyncio.AbstractEventLoop) -> None:
        _tasks_left.extend(repr(task) for task in asyncio.all_tasks(loop))
        original(loop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.runners, "_cancel_all_tasks", watched)
        yield


def _sockets() -> set[str]:
    """The sockets of this process (on Linux; elsewhere the check is left out).

    Without the connections that the checks themselves keep.
    """
    found: set[str] = set()
    if not Path(DESCRIPTORS).is_dir():
        return found
    ours = {one.kept.descriptor() for one in _running.values() if one.kept is not None}
    # Not with pathlib: this runs twice for each of thousands of tests.
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208
        try:
            target = os.readlink(f"{DESCRIPTORS}/{name}")  # noqa: PTH115
        except OSError:  # the descriptor of the listing itself
            continue
        if target.startswith("socket:") and int(name) not in ours:
            found.add(target)
    return found


def _gone(look: Callable[[], list[str]]) -> list[str]:
    """What ``look`` still finds after a while, and after garbage collection."""
    deadline = time.monotonic() + SETTLE_SECONDS
    pause = 0.001
    while left := look():
        if time.monotonic() > deadline:
            return left
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
        if pause > 0.004:
            gc.collect()
    return []


def _let_keepers_go() -> None:
    """Tell keepers not to linger, which those with nothing to keep would for 0.3 s.

    That they end by themselves too is for tests/unit/test_keeper.py and the tests of F19.
    """
    for thread in threading.enumerate():
        owner = getattr(getattr(thread, "_target", None), "__self__", None)
        if isinstance(owner, keeper.Keeper):
            owner.wake()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a task, a socket, or a key outside of ``trmq:``."""
    marker = request.node.get_closest_marker("leaves")
    allowed = set(marker.args) if marker else set()
    threads = set(threading.enumerate())
    sockets = _sockets()
    _tasks_left.clear()
    yield
    gc.collect()
    problems: list[str] = []
    if "tasks" not in allowed:
        problems += [f"task {task}" for task in _tasks_left]
    if "threads" not in allowed:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keeper, "IDLE_EXIT", 0.001)
            _let_keepers_go()
            problems += _gone(
                lambda: [f"thread {one}" for one in threading.enumerate() if one not in threads]
            )
    if "sockets" not in allowed:
        problems += _gone(lambda: [f"descriptor {one}" for one in _sockets() - sockets])
    for one in _running.values():
        keys = one.keys()
        if "keys" not in allowed:
            problems += [f"key {key!r}" for key in sorted(keys) if not key.startswith("trmq:")]
        one.delete(*keys)
    if problems:
        pytest.fail("The test left behind:\n  " + "\n  ".join(problems), pytrace=False)
