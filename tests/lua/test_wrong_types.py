"""Rule 3, F8: a key of the wrong type is found before the first write, so nothing is changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from tests.servers import RunningServer
from typed_rmq import commands
from typed_rmq.commands import Command, Way

from .kit import Kit, Mutant, ack, bury, fields, release, retry

Make = Callable[[Kit], Command[object]]


def rich(kit: Kit) -> list[bytes]:
    """A queue with something in every key; returns what session ``a`` holds."""
    for priority in ("high", "normal", "low"):
        kit.publish(*[priority.encode() + b"%d" % i for i in range(5)], priority=priority)
    kit.publish(b"suspect 1", b"suspect 2", lane=b"p2")
    kit.client.lrange(kit.keys.ready[1], 0, -1)
    kit.claim(b"crashing", want=2)
    kit.crash(b"crashing")
    kit.publish(b"due", delay=10_000, key="DUE")
    kit.all_due()
    kit.publish(b"later", delay=10_000)
    moved = kit.client.lrange(kit.keys.suspects, 0, -1)
    kit.client.delete(kit.keys.suspects)
    held = kit.claim(want=7)
    kit.cycle(verdicts=[ack(held[5])], keep_done=5)
    kit.cycle(verdicts=[bury(held[6])])
    kit.client.rpush(kit.keys.suspects, *moved)
    kit.client.rpush(kit.keys.room, "1")
    kit.client.hset(kit.keys.meta, "other", "1")
    kit.client.rpush(kit.keys.bell, "1")
    return held[:5]


def full_cycle(kit: Kit) -> Command[object]:
    held = rich(kit)
    kit.client.delete(kit.keys.suspects, kit.keys.bell, kit.keys.room)
    kit.client.hset(kit.keys.meta, "blocked", "99999999999999")
    verdicts = [
        ack(held[0]),
        retry(held[1]),
        retry(held[2], 1_000),
        release(held[3]),
        bury(held[4]),
    ]
    return kit.cycle_command(want=20, verdicts=verdicts, keep_done=3, keep_dead=1)


def suspect_cycle(kit: Kit) -> Command[object]:
    held = rich(kit)
    return kit.cycle_command(want=20, verdicts=[bury(e) for e in held], keep_dead=1)


def repeated_cycle(kit: Kit) -> Command[object]:
    rich(kit)
    return kit.cycle_command(n=kit.numbers[b"a"], want=2)


def reap(kit: Kit) -> Command[object]:
    held = rich(kit)
    kit.client.hset(kit.keys.inflight(b"a"), held[0][25:56], "damaged")
    kit.silence()
    kit.expire(b"a")
    return commands.reap(kit.keys, b"a", max_attempts=1, keep_dead=1)


def reap_of_one(kit: Kit) -> Command[object]:
    held = rich(kit)
    kit.silence()
    kit.cycle(verdicts=[release(e) for e in held[1:]])
    kit.expire(b"a")
    return commands.reap(kit.keys, b"a", max_attempts=1, keep_dead=1)


def publish(
    kit: Kit,
    *,
    overflow: str = "raise",
    max_length: int = 0,
    delay: int = 0,
    key: str | None = "new",
) -> Command[object]:
    rich(kit)
    kit.client.hset(kit.keys.meta, "blocked", "99999999999999")
    kit.client.delete(kit.keys.bell, kit.keys.room)
    return commands.publish(
        kit.keys,
        kit.keys.lane(b"producer"),
        kit.number(b"producer", None),
        window_ms=1000,
        delay_ms=delay,
        due_ms=0,
        max_length=max_length,
        overflow=overflow,
        envelopes=[kit.envelope(b"1", key=key), kit.envelope(b"2")],
    )


def short_cycle(kit: Kit, way: Way) -> Command[object]:
    """By the short way: acks and a claim, beside one more message in hand."""
    kit.publish(*[b"%d" % i for i in range(9)], key=None)
    held = kit.claim(want=3)
    kit.silence()
    return kit.cycle_command(want=4, acks=fields(held[:2]), way=way)


def enqueue(
    kit: Kit, *, key: str | None = "new", content: str | None = None, twice: bool = False
) -> Command[object]:
    kit.publish(b"before")
    kit.silence()
    kit.client.hset(kit.keys.meta, "other", "1")
    envelopes = [kit.envelope(b"1", key=key, content=content)]
    envelopes += [kit.envelope(b"2", key=key if twice else key and "other", content=content)]
    return commands.enqueue(
        commands.enqueue_keys(kit.keys, b"producer", 1),
        kit.number(b"producer", None),
        window_ms=1000,
        touch=False,
        envelopes=envelopes,
        dedup_keys=[] if key is None else [kit.keys.dedup + e[42:64] for e in envelopes],
    )


def purge(kit: Kit) -> Command[object]:
    rich(kit)
    kit.client.hset(kit.keys.meta, "blocked", "99999999999999")
    kit.client.delete(kit.keys.room)
    return commands.purge(kit.keys, kit.keys.lane(b"admin"), kit.number(b"admin", None))


def redrive(kit: Kit, *ids: str, key: str | None = "DEAD") -> Command[object]:
    kit.publish(b"dead", key=key)
    kit.cycle(b"z", verdicts=[bury(e) for e in kit.claim(b"z")])
    rich(kit)
    kit.silence()
    kit.client.xadd(kit.keys.dead, {"e": "foreign", "r": "no message, it stays"})
    lane = kit.keys.lane(b"admin")
    number = kit.number(b"admin", None)
    return commands.redrive(kit.keys, lane, number, window_ms=1000, ids=ids)


def promote(kit: Kit) -> Command[object]:
    rich(kit)
    kit.publish(b"later", delay=10_000, priority="high")
    kit.publish(b"later", delay=10_000, priority="low")
    kit.silence()
    lane, number = kit.keys.lane(b"admin"), kit.number(b"admin", None)
    return commands.promote(kit.keys, lane, number, skip=0, limit=1000)


MAKERS: dict[str, Make] = {
    "cycle": full_cycle,
    "cycle with suspects": suspect_cycle,
    "cycle again": repeated_cycle,
    "cycle short": lambda kit: short_cycle(kit, "short"),
    "cycle woken": lambda kit: short_cycle(kit, "woken"),
    "enqueue": enqueue,
    "enqueue explicit": lambda kit: enqueue(kit, content="c"),
    "enqueue twice": lambda kit: enqueue(kit, twice=True),
    "enqueue without a key": lambda kit: enqueue(kit, key=None),
    "reap": reap,
    "reap of one": reap_of_one,
    "publish": publish,
    "publish delayed": lambda kit: publish(kit, delay=1000),
    "publish dropping": lambda kit: publish(kit, overflow="drop_oldest", max_length=3),
    "publish dropping, without a key": lambda kit: publish(
        kit, overflow="drop_oldest", max_length=3, key=None
    ),
    "publish delayed, without a key": lambda kit: publish(kit, delay=1000, key=None),
    "publish blocking, without a key": lambda kit: publish(
        kit, overflow="block", max_length=1000, key=None
    ),
    "publish blocking": lambda kit: publish(kit, overflow="block", max_length=1000),
    "publish refused": lambda kit: publish(kit, overflow="block", max_length=3),
    "purge": purge,
    "redrive": redrive,
    "redrive without a key": lambda kit: redrive(kit, key=None),
    "redrive of ids": lambda kit: redrive(kit, "idididididididid00000001"),
    "promote": promote,
    "control": lambda kit: commands.control(
        kit.keys, kit.keys.lane(b"admin"), kit.number(b"admin", None), paused=False
    ),
    "renew": lambda kit: (rich(kit), commands.renew(kit.keys, b"a", lease_ms=1))[1],
}


def keys_of(kit: Kit, command: Command[object]) -> list[bytes]:
    """The keys that a call may touch: also those that only the long way of cycle computes."""
    keys = list(command.keys)
    if command.script.name == "cycle":
        more = kit.keys
        keys += [more.sessions, more.dead, more.dead_ids, more.done, more.room]
    return keys


def reset(kit: Kit) -> None:
    kit.client.delete(kit.keys.prefix + b"none", *kit.client.keys(kit.keys.prefix + b"*"))
    kit.numbers.clear()
    kit.made = 0


def nothing_half_done(kit: Kit, name: str, spoil: Callable[[Kit, bytes], None]) -> set[bytes]:
    """Spoil each key in turn; returns those that the call noticed. It changes nothing then."""
    noticed: set[bytes] = set()
    count, position = 1, -1
    while (position := position + 1) < count:
        reset(kit)
        command = MAKERS[name](kit)
        key = keys_of(kit, command)[position]
        count = len(keys_of(kit, command))
        spoil(kit, key)
        before = kit.dump()
        try:
            kit.run(command)
        except redis.ResponseError as error:
            assert "WRONGTYPE" in str(error) or "TRMQ_CORRUPT" in str(error), error
            assert kit.dump() == before, f"{key!r}: half done"
            noticed.add(key)
    return noticed


def spoil(kit: Kit, key: bytes) -> None:
    kit.client.delete(key)
    # A type that none of the queue's keys has.
    kit.client.sadd(key, "foreign")


@pytest.mark.parametrize("name", MAKERS)
def test_f8_a_key_of_the_wrong_type_changes_nothing(
    name: str, server: RunningServer, client: redis.Redis, queue_name: str
) -> None:
    kit = Kit(client, queue_name)
    noticed = nothing_half_done(kit, name, spoil)
    assert noticed, "the scenario touches none of its keys"
    reset(kit)
    if name in ("cycle", "purge", "redrive", "promote", "publish blocking", "enqueue"):
        assert noticed == set(keys_of(kit, MAKERS[name](kit)))


@pytest.mark.servers("valkey")
@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        ("redrive", Mutant("redrive", "redis.call('HLEN', dead_ids) -- a key", "-- a key")),
        ("reap", Mutant("reap", "redis.call('LLEN', suspects)\n", "")),
        ("cycle", Mutant("cycle", "redis.call('HLEN', ids)", "")),
        ("cycle short", Mutant("cycle", "and redis.call('HLEN', inflight) == held", "")),
        ("cycle woken", Mutant("cycle", "and (way == 'short' or redis.call('LLEN', bell))", "")),
        (
            "cycle short",
            Mutant(
                "cycle",
                "    if popped then\n      for i = #items",
                "    if false then\n      for i = #items",
            ),
        ),
        ("enqueue", Mutant("enqueue", "local ring = call('LLEN', bell) == 0 and", "local ring =")),
        ("enqueue", Mutant("enqueue", "    call('LTRIM', ready, 0, -#new - 1)", "")),
        (
            "enqueue",
            Mutant(
                "enqueue",
                "  if before == nil then\n    call('DECR', lane)",
                "  if before == nil then",
            ),
        ),
        (
            "enqueue",
            Mutant("enqueue", "  for i = 1, #new_keys do call('DEL', new_keys[i]) end\n", ""),
        ),
        ("purge", Mutant("purge", "and redis.call('LLEN', room) == 0", "and true")),
        ("publish", Mutant("publish", "redis.call('LLEN', target) -- a key", "-- a key")),
        (
            "publish blocking",
            Mutant("publish", "and redis.call('LLEN', room) == 0", "and true"),
        ),
    ],
    ids=str,
)
def test_without_its_check_a_call_is_half_done(
    name: str, mutant: Mutant, server: RunningServer, client: redis.Redis, queue_name: str
) -> None:
    with pytest.raises(AssertionError):
        nothing_half_done(Kit(client, queue_name, mutant), name, spoil)


def test_counters_that_are_no_numbers_change_nothing(
    server: RunningServer, client: redis.Redis, queue_name: str
) -> None:
    kit = Kit(client, queue_name)

    def spoil_counters(kit: Kit, key: bytes) -> None:
        if key == kit.keys.stats:
            names = "published completed failed retried released stale dead_lettered dropped"
            kit.client.hset(key, mapping=dict.fromkeys(names.split(), "many"))

    for name in ("cycle", "reap of one", "publish", "enqueue", "enqueue twice", "cycle short"):
        assert nothing_half_done(kit, name, spoil_counters) == {kit.keys.stats}


def test_a_lane_that_is_no_lane_changes_nothing(
    server: RunningServer, client: redis.Redis, queue_name: str
) -> None:
    kit = Kit(client, queue_name)

    def spoil_lane(kit: Kit, key: bytes) -> None:
        if b":lane:" in key:
            kit.client.set(key, "not a number")

    for name in (
        "cycle",
        "cycle short",
        "enqueue",
        "publish",
        "purge",
        "redrive",
        "promote",
        "control",
    ):
        assert len(nothing_half_done(kit, name, spoil_lane)) == 1
