"""The proofs that are held against a planted fault."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis

from tests.lua.kit import Kit, Mutant
from tests.lua.test_wrong_types import MAKERS, reset
from tests.servers import RunningServer
from tests.simulation.world import Failure, play
from typed_rmq.commands import Command

from .faults import Planted

__all__ = ["STEPS", "found_by_simulation", "lost_in_the_middle"]

STEPS = 60_000
"""After so many steps without a word the simulation has not noticed."""

WRITES = "del hdel hset hincrby incr lpop lpush ltrim rpush set xadd xdel zadd zrem"
"""What a right may be missing for; the commands that move messages are among them."""


def found_by_simulation(
    running: RunningServer, planted: Planted, *, hint: bool = True
) -> tuple[int, str] | None:
    """After how many steps, and what was said; with ``hint``, its seed is tried first."""
    with pytest.MonkeyPatch.context() as patch:
        if planted.core is not None:
            planted.core(patch)
        steps = 0
        for seed in [*([planted.seed] if hint else []), *range(1, 1000)]:
            try:
                steps += play(running, seed, 600, mutants=planted.mutants).steps
            except Failure as failure:
                return steps + failure.tally.steps, str(failure).splitlines()[0]
            if steps > STEPS:
                break
    return None


def _ids(kit: Kit) -> set[bytes]:
    """The ids of all messages, wherever they are."""
    keys = kit.keys
    client: Any = kit.client
    found: list[bytes] = [e for p in range(3) for e in client.lrange(keys.ready[p], 0, -1)]
    found += client.lrange(keys.suspects, 0, -1)
    found += client.zrange(keys.delayed, 0, -1)
    found += [fields[b"e"] for _, fields in client.xrange(keys.dead)]
    for key in client.keys(keys.inflight(b"*")):
        found += client.hvals(key)
    return {e[25:49] for e in found if len(e) > 56}


@contextlib.contextmanager
def _without(kit: Kit, right: str) -> Iterator[Any]:
    """A client of a user who may do everything but this."""
    kit.client.execute_command("ACL", "SETUSER", "lame", "reset", "on", "nopass", "~*", "+@all")
    kit.client.execute_command("ACL", "SETUSER", "lame", f"-{right}")
    where = kit.client.connection_pool.connection_kwargs
    lame = redis.Redis(
        host=where["host"], port=where["port"], username="lame", password="x", driver_info=None
    )
    try:
        yield lame
    finally:
        lame.close()
        kit.client.execute_command("ACL", "DELUSER", "lame")


def _keep_all_dead(call: Command[object]) -> None:
    """No dead letter has to make room for another."""
    if call.script.name == "reap":
        call.args[3] = 10_000
    elif call.script.name == "cycle":
        options = call.args[5]
        assert isinstance(options, bytes)
        session, lease, _, *rest = options.split(b" ")
        call.args[5] = b" ".join([session, lease, b"10000", *rest])


def _acked(call: Command[object]) -> set[bytes]:
    """The ids of what the call acks, which may be gone after it."""
    if call.script.name != "cycle":
        return set()
    pairs = zip(call.args, call.args[1:], strict=False)
    return {
        field[:24]
        for kind, field in pairs
        if isinstance(field, bytes) and len(field) == 31 and kind not in (b"r", b"R", b"d")
    }


def lost_in_the_middle(
    client: redis.Redis, queue: str, name: str, mutants: Sequence[Mutant] = ()
) -> dict[str, set[bytes]]:
    """Which messages are gone after a call was ended in the middle, by the right that it lacked.

    Redis does not take back what a script has done when it fails half-way, for a right that is
    missing or in a slot that is on its way to another node. So the script must have copied
    before it removes.
    """
    lost: dict[str, set[bytes]] = {}
    kit = Kit(client, queue)
    for right in WRITES.split():
        reset(kit)
        call = MAKERS[name](kit)
        _keep_all_dead(call)
        source = call.script.source.decode()
        for mutant in mutants:
            source = mutant.apply(call.script.name, source)
        before = _ids(kit)
        with _without(kit, right) as lame, contextlib.suppress(redis.ResponseError):
            lame.eval(source, len(call.keys), *call.keys, *call.args)
        gone = before - _ids(kit) - _acked(call)
        if gone:
            lost[right] = gone
    reset(kit)
    return lost
