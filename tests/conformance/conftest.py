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
    """Marks a case that has to wait; see ``pytest_collection_modifyitems``."""


QUICK = {("sync", "redis7"), ("async", "redis6")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the quick run leaves out, to stay quick: it is marked as slow.

    On Valkey every case runs in both modes. What the modes send is the same, and the scripts are
    the same on all servers: so the quick run has one mode for each of the other servers, and no
    case that has to wait. The full run has everything.
    """
    for item in items:
        spec = getattr(item, "callspec", None)
        if not isinstance(item, pytest.Function) or spec is None or "mode" not in spec.params:
            continue
        pair = (spec.params["mode"], spec.params.get("server_kind", "valkey"))
        if pair[1] != "valkey" and (pair not in QUICK or "timed" in item.fixturenames):
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
