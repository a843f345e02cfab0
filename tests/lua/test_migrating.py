"""Rule 3, F9: while a slot moves to another node, a call is done or refused, never by halves.

In a slot that is being migrated away, a script fails as soon as it touches a key that is absent:
also one that it has just emptied, or a computed one. So whatever each script writes after its
first write must be there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from tests.servers import RunningServer, available, free_port, start

from .kit import Kit, Mutant
from .test_wrong_types import MAKERS, keys_of


def cluster_port() -> int:
    """A free port that leaves room for the bus of the cluster, 10,000 above."""
    while (port := free_port()) > 55_000:
        pass
    return port


@pytest.fixture(scope="module")
def node() -> Iterator[RunningServer]:
    """A node of a cluster, with a second one to migrate to."""
    missing = available()
    kind = next((kind for kind in ("valkey", "redis7") if not missing[kind]), None)
    if kind is None:
        pytest.skip("no server of 7.0 or later")
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
    with (
        start(kind, *options, port=cluster_port()) as one,
        start(kind, *options, port=cluster_port()) as two,
    ):
        one.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        one.command("CLUSTER", "MEET", "127.0.0.1", two.port or 0)
        other = two.command("CLUSTER", "MYID")
        assert isinstance(other, bytes)
        deadline = time.monotonic() + 20
        while True:
            nodes = one.command("CLUSTER", "NODES")
            info = one.command("CLUSTER", "INFO")
            known = other.decode() in str(nodes) and "handshake" not in str(nodes)
            if known and "cluster_state:ok" in str(info):
                break
            assert time.monotonic() < deadline, nodes
            time.sleep(0.05)
        one.other_node = other.decode()  # type: ignore[attr-defined]  # kept with its node
        yield one


def run_while_migrating(kit: Kit, node: RunningServer, name: str) -> str:
    """``done`` or ``refused``; an AssertionError where it was done by halves."""
    command = MAKERS[name](kit)
    for key in keys_of(kit, command):
        if not kit.client.exists(key):
            fill(kit, key)
    slot = kit.client.execute_command("CLUSTER", "KEYSLOT", kit.keys.prefix)
    before = kit.dump()
    node.command("CLUSTER", "SETSLOT", slot, "MIGRATING", node.other_node)  # type: ignore[attr-defined]  # kept with its node
    try:
        kit.run(command)
    except redis.RedisError as error:
        node.command("CLUSTER", "SETSLOT", slot, "STABLE")
        assert "non local key" in str(error), error
        assert kit.dump() == before, f"half done: {error}"
        return "refused"
    finally:
        node.command("CLUSTER", "SETSLOT", slot, "STABLE")
    return "done"


def fill(kit: Kit, key: bytes) -> None:
    """A key that the scenario leaves out, so that it is there and changes little."""
    if key in (kit.keys.meta, kit.keys.stats, kit.keys.dead_ids) or b"inflight" in key:
        kit.client.hset(key, "other", "1")
    elif key in (kit.keys.delayed, kit.keys.sessions):
        kit.client.zadd(key, {"other": 9_999_999_999_999})
    elif key in (kit.keys.dead, kit.keys.done):
        kit.client.xadd(key, {"e": "x", "r": "x"})
    elif b":lane:" in key:
        kit.client.set(key, "0 ")
    elif b":dedup:" in key:
        kit.client.set(key, "another message's id 24.", px=60_000)
    else:
        kit.client.rpush(key, "1")


@pytest.mark.parametrize("name", MAKERS)
def test_f9_nothing_is_half_done_in_a_migrating_slot(
    name: str, node: RunningServer, queue_name: str
) -> None:
    with node.client() as client:
        outcome = run_while_migrating(Kit(client, queue_name), node, name)
    # A key that is free must be read to know it: that may be on the other node already.
    computes_a_free_key = name.startswith(("publish", "redrive")) and "without a key" not in name
    assert outcome == ("refused" if computes_a_free_key else "done")


@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        (
            "purge",
            Mutant(
                "purge",
                "local left = total - #gone",
                "local left = total - #gone + redis.call('LLEN', KEYS[2])",
            ),
        ),
        (
            "cycle",
            Mutant(
                "cycle",
                "if due_count > 0 then redis",
                "redis.call('LLEN', suspects) if due_count > 0 then redis",
            ),
        ),
        (
            "publish delayed",
            Mutant(
                "publish",
                "taken[asked[1]] = redis.call('GET', asked[1])",
                "taken[asked[1]] = false redis.call('LPUSH', bell, '1')",
            ),
        ),
    ],
    ids=str,
)
def test_f9_a_script_that_touches_what_is_absent_is_done_by_halves(
    name: str, mutant: Mutant, node: RunningServer, queue_name: str
) -> None:
    with node.client() as client, pytest.raises(AssertionError, match="half done"):
        run_while_migrating(Kit(client, queue_name, mutant), node, name)
