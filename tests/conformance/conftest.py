"""The fixture ``mode``: every case runs in sync and in async mode, on every server."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import redis

from tests.conformance.harness import AsyncMode, Mode, SyncMode
from tests.servers import RunningServer


@pytest.fixture
def timed() -> None:
    """Marks a case that has to wait; see ``harness.timed``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cases that have to wait count as slow on all servers but Valkey."""
    for item in items:
        spec = getattr(item, "callspec", None)
        if spec is None or "timed" not in getattr(item, "fixturenames", ()):
            continue
        if spec.params.get("server_kind", "valkey") != "valkey":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest, server: RunningServer, queue_name: str) -> Iterator[Mode]:
    """The mode; when the test ends, its queues are closed and nobody holds anything any more."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    mode: Mode = (SyncMode if request.param == "sync" else AsyncMode)(server.url, queue_name)
    try:
        yield mode
    finally:
        mode.close()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    if request.node.get_closest_marker("leaves") is None:
        held = [key for key in server.keys() if ":inflight:" in key]  # noqa: SIM118
        assert held == [], "a consumer has not given back what it held"


@pytest.fixture
def keys(client: redis.Redis, queue_name: str) -> Keys:
    """The queue's keys in Redis, to look and to meddle."""
    return Keys(client, queue_name)


class Keys:
    def __init__(self, client: redis.Redis, queue_name: str) -> None:
        self.client = client
        self.prefix = f"trmq:{{{queue_name}}}:"

    def __call__(self, suffix: str) -> str:
        return self.prefix + suffix

    def all(self) -> dict[str, str]:
        """Every key of the queue, without its prefix, and its type."""
        found = self.client.scan_iter(match=self.prefix.replace("{", "\\{") + "*", count=1000)
        return {
            key.decode().removeprefix(self.prefix): self.client.type(key).decode() for key in found
        }

    def calls(self) -> int:
        """How many commands clients have sent, counted by the kinds that queues send."""
        stats = self.client.info("commandstats")
        sent = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_blpop", "cmdstat_evalsha_ro")
        return sum(int(stats[name]["calls"]) for name in sent if name in stats)
