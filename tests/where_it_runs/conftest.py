"""The fixture ``mode`` once more: cases of the conformance suite over each kind of connection.

A *place* is a way to reach Redis: an address, or a client of the user's, for either kind of loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from tests.conformance.harness import AsyncMode, Mode, Order, Rmq, SyncMode
from tests.fleets import Certificates, Cluster, Watched, start_tls
from tests.servers import RunningServer

ROOT = Path(__file__).parents[2]


def documented_rule(name: str) -> list[str]:
    """The access rule of docs/operations.md, as it stands there."""
    page = (ROOT / "docs" / "operations.md").read_text()
    found = re.search(rf"^{name} = \((.*?)^\)", page, re.DOTALL | re.MULTILINE)
    assert found is not None
    return "".join(re.findall(r'"([^"]*)"', found[1])).split()


class Fleets:
    """Starts what a place needs at its first use; one of each for the whole run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, str], Any] = {}
        self._ends: list[Callable[[], object]] = []
        self._certificates: Certificates | None = None

    def _once(self, what: str, kind: str, make: Callable[[], Any]) -> Any:
        if (what, kind) not in self._made:
            self._made[what, kind] = make()
        return self._made[what, kind]

    @property
    def certificates(self) -> Certificates:
        if self._certificates is None:
            self._certificates = Certificates(self._folder)
        return self._certificates

    def cluster(self, kind: str) -> Cluster:
        def make() -> Cluster:
            cluster = Cluster(kind)
            self._ends.append(cluster.stop)
            return cluster

        return self._once("cluster", kind, make)

    def watched(self, kind: str) -> Watched:
        def make() -> Watched:
            watched = Watched(kind)
            self._ends.append(watched.stop)
            return watched

        return self._once("watched", kind, make)

    def tls(self, kind: str, *, client_certificates: bool = False) -> tuple[RunningServer, int]:
        """The server and its TLS port."""

        def make() -> tuple[RunningServer, int]:
            context = start_tls(kind, self.certificates, client_certificates=client_certificates)
            made = context.__enter__()
            self._ends.append(lambda: context.__exit__(None, None, None))
            return made

        return self._once(f"tls {client_certificates}", kind, make)

    def close(self) -> None:
        for end in reversed(self._ends):
            end()


@pytest.fixture(scope="session")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleets]:
    fleets = Fleets(tmp_path_factory.mktemp("certificates"))
    yield fleets
    fleets.close()


# --- places


class Place:
    """Where Redis is, for one test: ``address`` is what ``redis=`` gets."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.address: Any = None
        self.servers: list[RunningServer] = []
        self._ends: list[Callable[[], object]] = []

    def client(self, client: Any) -> None:
        """A client of the user's: the test closes it."""
        self.address = client
        self._ends.append(
            lambda: self.mode.call(client.close if self.mode.name == "sync" else client.aclose)
        )

    def at_end(self, call: Callable[[], object]) -> None:
        self._ends.append(call)

    def close(self) -> None:
        for end in reversed(self._ends):
            end()


def _redis(place: Place) -> Any:
    return redis.Redis if place.mode.name == "sync" else redis.asyncio.Redis


def unix(place: Place, server: RunningServer, fleets: Fleets) -> None:
    place.address = f"unix://{server.socket}"
    place.servers = [server]


def acl(place: Place, server: RunningServer, fleets: Fleets) -> None:
    """A user with the rights that the docs tell to give, and no more."""
    rule = documented_rule("RULE")
    server.command("ACL", "SETUSER", "shop", "reset", "on", ">secret", *rule)
    place.at_end(lambda: server.command("ACL", "DELUSER", "shop"))
    place.address = server.url.replace("redis://", "redis://shop:secret@")
    place.servers = [server]


def decoded(place: Place, server: RunningServer, fleets: Fleets) -> None:
    place.client(_redis(place).from_url(server.url, protocol=2, decode_responses=True))
    place.servers = [server]


def decoded_resp3(place: Place, server: RunningServer, fleets: Fleets) -> None:
    place.client(_redis(place).from_url(server.url, protocol=3, decode_responses=True))
    place.servers = [server]


def impatient(place: Place, server: RunningServer, fleets: Fleets) -> None:
    """A client that gives up soon, tries again by itself, and asks how its connections are."""
    place.client(
        _redis(place).from_url(
            server.url, socket_timeout=0.3, retry_on_timeout=True, health_check_interval=1
        )
    )
    place.servers = [server]


def tls(place: Place, server: RunningServer, fleets: Fleets) -> None:
    one, port = fleets.tls(server.kind)
    place.address = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={fleets.certificates.ca}"
    place.servers = [one]


def client_certificate(place: Place, server: RunningServer, fleets: Fleets) -> None:
    one, port = fleets.tls(server.kind, client_certificates=True)
    certificate, key = fleets.certificates.client
    place.address = (
        f"rediss://localhost:{port}/0?ssl_ca_certs={fleets.certificates.ca}"
        f"&ssl_certfile={certificate}&ssl_keyfile={key}"
    )
    place.servers = [one]


def tls_client(place: Place, server: RunningServer, fleets: Fleets) -> None:
    one, port = fleets.tls(server.kind)
    place.client(
        _redis(place)(
            host="localhost",
            port=port,
            ssl=True,
            ssl_ca_certs=str(fleets.certificates.ca),
            protocol=3,
        )
    )
    place.servers = [one]


def sentinel(place: Place, server: RunningServer, fleets: Fleets) -> None:
    watched = fleets.watched(server.kind)
    kind: Any = redis.sentinel if place.mode.name == "sync" else redis.asyncio.sentinel
    manager = kind.Sentinel(watched.addresses, socket_timeout=1.0)
    if place.mode.name == "sync":
        place.at_end(lambda: [one.close() for one in manager.sentinels])
    else:
        place.at_end(lambda: place.mode.call(manager.aclose))
    place.client(manager.master_for(watched.service))
    place.servers = [watched.master]


def cluster(place: Place, server: RunningServer, fleets: Fleets, **options: Any) -> None:
    nodes = fleets.cluster(server.kind)
    host, port = nodes.addresses[0]
    kind: Any = redis.RedisCluster if place.mode.name == "sync" else redis.asyncio.RedisCluster
    place.client(kind(host=host, port=port, **options))
    place.servers = nodes.nodes


def cluster_replicas(place: Place, server: RunningServer, fleets: Fleets) -> None:
    strategy = redis.cluster.LoadBalancingStrategy.ROUND_ROBIN
    cluster(place, server, fleets, load_balancing_strategy=strategy)


def cluster_decoded(place: Place, server: RunningServer, fleets: Fleets) -> None:
    cluster(place, server, fleets, decode_responses=True, protocol=3)


def cluster_url(place: Place, server: RunningServer, fleets: Fleets) -> None:
    """The first node of the address is not there."""
    nodes = fleets.cluster(server.kind)
    hosts = ",".join(f"{host}:{port}" for host, port in nodes.addresses)
    place.address = f"redis+cluster://127.0.0.1:1,{hosts}/0"
    place.servers = nodes.nodes


def sentinel_url(place: Place, server: RunningServer, fleets: Fleets) -> None:
    """The first Sentinel of the address is not there."""
    watched = fleets.watched(server.kind)
    hosts = ",".join(f"{host}:{port}" for host, port in watched.addresses)
    place.address = f"redis+sentinel://127.0.0.1:1,{hosts}/{watched.service}/0"
    place.servers = [watched.master]


PLACES = {
    place.__name__: place
    for place in (
        *(unix, acl, decoded, decoded_resp3, impatient, tls, client_certificate, tls_client),
        *(sentinel, cluster, cluster_replicas, cluster_decoded, cluster_url, sentinel_url),
    )
}

# What only the binary of Debian can do; the summary of the run says so.
TLS = {"tls", "client_certificate", "tls_client"}

HERE = Path(__file__).parent

QUICK = {"test_everything_once"}
"""The quick run has these, on one server for each place."""

ELSEWHERE = QUICK | {
    "test_receive_without_a_limit_waits_for_a_message",
    "test_each_message_is_handled_once_by_many_hands",
}
"""What the other servers have: the scripts and the waits; the connections are the same."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what a server cannot do, or what would only be said twice."""
    for item in list(items):
        spec = getattr(item, "callspec", None)
        # pytest hands over the items of the whole run, not only those of this folder.
        if spec is None or "where" not in spec.params or HERE not in item.path.parents:
            continue
        assert isinstance(item, pytest.Function)
        case = item.originalname
        home = "redis7" if spec.params["where"] in TLS else "valkey"
        at_home = spec.params["server_kind"] == home
        if not at_home and (home == "redis7" or case not in ELSEWHERE):
            items.remove(item)
        elif not at_home or case not in QUICK:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=PLACES)
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sync", "async"])
def mode(
    request: pytest.FixtureRequest,
    where: str,
    server: RunningServer,
    fleets: Fleets,
    queue_name: str,
) -> Iterator[Mode]:
    """The mode of the conformance suite, whose queues are at the place."""
    mode: Mode = (SyncMode if request.param == "sync" else AsyncMode)(server.url, queue_name)
    place = Place(mode)
    original = mode.open

    def open_there(payload: Any = Order, name: str | None = None, **options: Any) -> Rmq:
        options.setdefault("redis", place.address)
        return original(payload, name, **options)

    mode.open = open_there  # type: ignore[method-assign]  # of this test's mode only
    try:
        PLACES[where](place, server, fleets)
        yield mode
    finally:
        # Queues first, then what they were reached by, then the event loop.
        for rmq in reversed(mode._open):
            rmq.close()
        mode._open.clear()
        place.close()
        mode.close()
    held = [key for one in place.servers for key in one.keys() if ":inflight:" in key]  # noqa: SIM118
    assert held == [], "a consumer has not given back what it held"
