"""A master and a replica: demoted under a client, by hand or by Sentinel (F6), and a cut link."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import MakeServer
from tests.failover.history import History, load
from tests.faults.proxy import Proxy
from tests.fleets import Watched, until
from typed_rmq import Connection, Queue, QueueUnavailable

BySentinel = Callable[[str], History]


class Pair:
    """A master, its replica, and an address that leads to whichever is the master."""

    def __init__(self, make_server: MakeServer, kind: str) -> None:
        options = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
        self.one = make_server(kind, *options, tcp=True)
        self.two = make_server(kind, *options, tcp=True)
        self.address = Proxy(self.one.port or 0)
        self.link = Proxy(self.one.port or 0)
        self.two.command("REPLICAOF", "127.0.0.1", self.link.port)
        until(lambda: Watched.link_is_up(self.two), "the replica follows")

    def in_step(self) -> bool:
        """Whether the replica has all that the master has."""
        offsets = [
            int(server.command("INFO", "replication")["master_repl_offset"])  # type: ignore[index]  # a dict
            for server in (self.one, self.two)
        ]
        return offsets[0] == offsets[1]

    def fail_over(self) -> None:
        """The replica becomes the master; the old one follows it, and keeps its connections."""
        self.two.command("REPLICAOF", "NO", "ONE")
        self.one.command("REPLICAOF", "127.0.0.1", self.two.port or 0)

    def lead_on(self) -> None:
        """New connections go to the new master."""
        self.address._to = self.two.port or 0

    def close(self) -> None:
        self.link.close()
        self.address.close()


@pytest.fixture
def pair(make_server: MakeServer, server_kind: str) -> Iterator[Pair]:
    pair = Pair(make_server, server_kind)
    yield pair
    pair.close()


@pytest.mark.parametrize("way", ["sync", "async"])
def test_f6_what_is_refused_by_a_former_master_goes_to_the_new_one(
    pair: Pair, queue_name: str, run_async: Any, way: str
) -> None:
    """READONLY, on 6.2 inside of another error: publish, claim, and ack go on elsewhere."""
    lead = threading.Timer(0.3, pair.lead_on)

    async def main() -> None:
        async with Queue[int](queue_name, pair.address.url, dedup=None) as queue:
            await queue.apublish_many([1, 2])
            held = await queue.areceive(timeout=5)
            assert held is not None
            until(pair.in_step, "the replica has it all")
            pair.fail_over()
            lead.start()
            await queue.apublish(3)
            held.ack()
            await held.asettle()
            seen = [msg.payload async for msg in queue.consume(until_empty=True)]
            assert (held.payload, seen) == (1, [2, 3])
            stats = await queue.astats()
            assert (stats.published, stats.completed, stats.stale) == (3, 3, 0)

    if way == "async":
        run_async(main())
    else:
        with Queue[int](queue_name, pair.address.url, dedup=None) as queue:
            queue.publish_many([1, 2])
            held = queue.receive(timeout=5)
            assert held is not None
            until(pair.in_step, "the replica has it all")
            pair.fail_over()
            lead.start()
            queue.publish(3)
            held.ack()
            held.settle()
            seen = [msg.payload for msg in queue.consume(until_empty=True)]
            assert (held.payload, seen) == (1, [2, 3])
            stats = queue.stats()
            assert (stats.published, stats.completed, stats.stale) == (3, 3, 0)
    lead.join()
    assert pair.one.command("INFO", "replication")["role"] == "slave"  # type: ignore[index]  # a dict


@pytest.mark.parametrize("way", ["sync", "async"])
def test_f6_a_consumer_that_waits_at_a_former_master_goes_on(
    pair: Pair, queue_name: str, run_async: Any, way: str
) -> None:
    """Redis lets go of what is blocked there: UNBLOCKED is no end of a loop."""
    seen: list[int] = []

    def waiting() -> bool:
        clients = pair.one.command("INFO", "clients")
        assert isinstance(clients, dict)
        return int(clients["blocked_clients"]) == 1

    def sync() -> None:
        with Queue[int](queue_name, pair.address.url) as queue:
            for msg in queue.consume(max_messages=1, stop_on_signals=False):
                seen.append(msg.payload)

    async def aio() -> None:
        async with Queue[int](queue_name, pair.address.url) as queue:
            async for msg in queue.consume(max_messages=1, stop_on_signals=False):
                seen.append(msg.payload)

    errors: list[BaseException] = []

    def run() -> None:
        try:
            sync() if way == "sync" else asyncio.run(aio())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(waiting, "the consumer waits")
    until(pair.in_step, "the replica has it all")
    pair.fail_over()
    pair.lead_on()
    with Queue[int](queue_name, pair.two.url) as queue:
        queue.publish(7)
    thread.join(30)
    assert not errors, errors
    assert seen == [7]


@pytest.mark.parametrize("number", [200])
def test_what_a_cut_link_cost_is_all_that_is_lost(pair: Pair, queue_name: str, number: int) -> None:
    """Confirmed while nothing was replicated: gone with the failover, and nothing else is."""
    with Queue[int](queue_name, pair.address.url, dedup=None) as queue:
        queue.publish_many(range(10))
        until(pair.in_step, "the replica has it all")
        pair.link.refusing = True
        pair.link.cut()
        until(lambda: not Watched.link_is_up(pair.two), "the link is cut")
        cost = range(100, 100 + number)
        for one in cost:
            queue.publish(one)
        pair.one.signal(signal.SIGKILL)
        pair.two.command("REPLICAOF", "NO", "ONE")
        pair.lead_on()
        queue.publish_many(range(1000, 1010))
        seen = [msg.payload for msg in queue.consume(until_empty=True)]
        assert seen == [*range(10), *range(1000, 1010)]
        stats = queue.stats()
        assert (stats.published, stats.completed, stats.in_flight) == (20, 20, 0)


# ------------------------------------------------------------------------------------ Sentinel


def kill_the_master(watched: Watched, clients: History) -> None:
    """Under load; all that its clients saw must be explained by it."""
    master, replica = watched.master, watched.replica
    with load(clients) as history:
        began = time.monotonic()
        master.signal(signal.SIGKILL)
        until(lambda: watched.master is replica, "the replica is promoted")
        ended = time.monotonic()
    history.check_explained(began, ended)


@pytest.mark.slow
def test_f6_sentinel_replaces_a_killed_master_under_load(
    watched: Watched, by_sentinel: BySentinel, queue_name: str
) -> None:
    kill_the_master(watched, by_sentinel(queue_name))


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_f6_sentinel_replaces_a_killed_master_that_is_named_by_a_url(
    watched: Watched, queue_name: str
) -> None:
    hosts = ",".join(f"{host}:{port}" for host, port in watched.addresses)
    url = f"redis+sentinel://{hosts}/{watched.service}"
    kill_the_master(watched, History(queue_name, lambda: url, lambda: url))


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_f6_sentinel_is_told_to_change_masters_under_load(
    watched: Watched, by_sentinel: BySentinel, queue_name: str
) -> None:
    """The old master lives on: it answers for a moment longer, and what it says is lost."""
    master, replica = watched.master, watched.replica
    with load(by_sentinel(queue_name)) as history:
        began = time.monotonic()
        watched.sentinels[0].command("SENTINEL", "FAILOVER", watched.service)
        until(
            lambda: master.command("INFO", "replication")["role"] == "slave",  # type: ignore[index]  # a dict
            "the old master follows",
        )
        ended = time.monotonic()
        assert watched.master is replica
    history.check_explained(began, ended + 1)


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.servers("valkey")
def test_f6_no_master_at_all_is_unavailable(
    watched: Watched, by_sentinel: BySentinel, queue_name: str, run_async: Any, way: str
) -> None:
    history = by_sentinel(queue_name)
    for server in watched.servers:
        server.stop()
    until(lambda: _is_down(watched), "the sentinel knows")

    async def main() -> None:
        client = history.async_address()
        async with Queue[int](queue_name, Connection(client, retry_budget=0.5)) as queue:
            with pytest.raises(QueueUnavailable, match=r"No master found|refused|failed"):
                await queue.apublish(1)
        await client.aclose()

    if way == "async":
        run_async(main())
    else:
        client = history.sync_address()
        with (
            Queue[int](queue_name, Connection(client, retry_budget=0.5)) as queue,
            pytest.raises(QueueUnavailable, match=r"No master found|refused|failed"),
        ):
            queue.publish(1)
        client.close()


def _is_down(watched: Watched) -> bool:
    (state,) = watched._ask(watched.sentinels[0], "MASTERS")
    return "down" in state["flags"]
