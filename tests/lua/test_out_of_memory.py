"""Rule 4: a full Redis refuses what is new, whole, and lets everything through that makes room."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.servers import RunningServer
from typed_rmq import Queue, QueueFull, commands
from typed_rmq.commands import Command

from .kit import Kit, Mutant, ack, bury, fields, message_id, payload, release, retry

FLAG = "if full then redis.call('DEL', prefix .. 'none') end\nif #letters > 0 then"
OOM = "OOM|used memory"
REAP_FLAG = "if ARGV[5] == 'full' then redis.call('DEL', prefix .. 'none') end\n"


@contextlib.contextmanager
def out_of_memory(client: redis.Redis) -> Iterator[None]:
    """Nothing that needs memory passes: more than the limit is in use already."""
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)


@pytest.fixture
def kit(server: RunningServer, client: redis.Redis, queue_name: str) -> Kit:
    return Kit(client, queue_name)


def refused(kit: Kit, call: Callable[[], object]) -> None:
    """Refused, and nothing of it was done."""
    before = kit.dump()
    with pytest.raises(redis.ResponseError, match=OOM):
        call()
    assert kit.dump() == before


def passes(kit: Kit, make: Callable[[], Command[object]]) -> object:
    """As the driver does it: refused whole, or done; and done with the flag."""
    command = make()
    before = kit.dump()
    try:
        return kit.run(command)
    except redis.ResponseError as error:
        assert re.search(OOM, str(error))
        assert kit.dump() == before
    return kit.run(command, full=True)


def test_publish_is_refused_whole(kit: Kit) -> None:
    kit.publish(b"old", key="old")
    kit.publish(b"due", delay=10_000)
    with out_of_memory(kit.client):
        refused(kit, lambda: kit.publish(b"1", b"2"))
        refused(kit, lambda: kit.publish(b"1", key="new"))
        refused(kit, lambda: kit.publish(b"1", delay=5_000, key="new"))
        two = [kit.envelope(b"1", key="new"), kit.envelope(b"2", key="newer")]
        refused(kit, lambda: kit.store(two))
        refused(kit, lambda: kit.store(two, lane=b"another"))
        refused(kit, lambda: kit.publish(b"1", key="old"))
        refused(kit, lambda: kit.publish(b"1", max_length=2, overflow="drop_oldest"))
        refused(kit, lambda: kit.publish(b"1", max_length=2, overflow="block"))
    kit.publish(b"later")
    assert kit.ready() == [b"old", b"later"]


@pytest.mark.parametrize("delay", [0, 5_000], ids=["at once", "delayed"])
def test_a_repeated_publish_is_answered_by_a_full_redis(kit: Kit, delay: int) -> None:
    """Found by the model: stored, the answer lost, Redis full, and then 'nothing was stored'."""
    kit.publish(b"1", n=1, delay=delay)
    kit.publish(b"2", n=2, delay=delay, key="K")
    with out_of_memory(kit.client):
        assert kit.publish(b"2", n=2, delay=delay, key="K").status == "again"
        assert kit.publish(b"1", n=1, delay=delay).status == "old"
        refused(kit, lambda: kit.publish(b"3", n=3, delay=delay))
    assert len(kit.ready()) + len(kit.delayed()) == 2


def test_redrive_is_refused_whole(kit: Kit) -> None:
    kit.publish(b"x", key="K")
    kit.cycle(verdicts=[bury(e) for e in kit.claim()])
    with out_of_memory(kit.client):
        refused(kit, kit.redrive)
    assert kit.redrive().redriven == 1


def test_acks_alone_need_no_flag(kit: Kit) -> None:
    kit.publish(b"1", b"2")
    held = kit.claim()
    command = kit.cycle_command(acks=fields(held))
    with out_of_memory(kit.client):
        assert kit.run(command).stale == ()
    assert kit.counter("completed") == 2


def expire(kit: Kit, session: bytes) -> None:
    """The lease runs out, while Redis is full."""
    kit.client.config_set("maxmemory", 0)
    kit.expire(session)
    kit.client.config_set("maxmemory", 1)


def everything_passes(kit: Kit) -> None:
    kit.publish(*[b"%d" % i for i in range(8)], key=None)
    kit.publish(b"due", delay=10_000)
    kit.publish(b"until done", key="K", until_done=True, window=0)
    kit.all_due()
    held = kit.claim(want=5)
    with out_of_memory(kit.client):
        verdicts = [ack(held[0]), retry(held[1]), retry(held[2], 9_000), release(held[3])]
        verdicts.append(bury(held[4]))
        command = kit.cycle_command(verdicts=verdicts, want=4, keep_done=10, keep_dead=0)
        reply = passes(kit, lambda: command)
        assert [payload(e) for e in reply.envelopes] == [b"3", b"5", b"6", b"7"]
        assert kit.ready() == [b"until done", b"due", b"1"]
        assert kit.delayed() == [b"2"]
        assert kit.client.xlen(kit.keys.done) == 1
        assert kit.counter("dropped") == 1
        again = passes(kit, lambda: kit.cycle_command(n=kit.numbers[b"a"], want=4))
        assert len(again.envelopes) == 4
        passes(kit, lambda: commands.renew(kit.keys, b"a", lease_ms=5_000))
        expire(kit, b"a")
        reap = commands.reap(kit.keys, b"a", max_attempts=5, keep_dead=10)
        assert len(passes(kit, lambda: reap).returned) == 4
        [suspect] = passes(kit, lambda: kit.cycle_command(b"b", want=9)).envelopes
        expire(kit, b"b")
        reap = commands.reap(kit.keys, b"b", max_attempts=1, keep_dead=10)
        assert passes(kit, lambda: reap).buried == (message_id(suspect),)
        passes(kit, lambda: kit.cycle_command(b"c", closing=True))
    assert kit.counter("completed") == 1


def test_settling_claiming_and_reaping_pass(kit: Kit) -> None:
    everything_passes(kit)


@pytest.mark.servers("valkey", "redis7")
@pytest.mark.parametrize(
    "mutant",
    [
        Mutant("cycle", FLAG, "if #letters > 0 then"),
        Mutant("reap", REAP_FLAG, ""),
    ],
    ids=str,
)
def test_they_do_not_pass_without_the_first_delete(kit: Kit, mutant: Mutant) -> None:
    kit.mutant = mutant
    with pytest.raises(redis.ResponseError, match=OOM):
        everything_passes(kit)


def test_a_paused_queue_can_be_resumed_and_emptied(kit: Kit) -> None:
    kit.publish(b"x")
    kit.cycle(verdicts=[bury(e) for e in kit.claim()])
    kit.publish(b"y", key="K")
    kit.publish(b"z", delay=10_000)
    with out_of_memory(kit.client):
        kit.pause()
        assert kit.client.hget(kit.keys.meta, "paused") == b"1"
        kit.silence()
        kit.pause(False)
        assert kit.rung()
        assert kit.purge() == ("new", 2, 0)
        assert kit.purge() == ("new", 0, 0)
        assert kit.dead_purge() == 1
        assert kit.dead_purge() == 0
    assert kit.dedup("K") is None


def test_f7_users_see_queue_full_and_consumers_go_on(
    server: RunningServer, client: redis.Redis, queue_name: str
) -> None:
    with Queue[int](queue_name, server.url) as queue:
        queue.publish_many(range(5))
        with out_of_memory(client):
            with pytest.raises(QueueFull):
                queue.publish(7)
            got: list[int] = []
            for msg in queue.consume(until_empty=True):
                with msg as number:
                    if number == 3:
                        msg.reject("three")
                    elif number == 4 and msg.attempt == 1:
                        msg.retry(0)
                    else:
                        got.append(number)
            assert got == [0, 1, 2, 4]
            assert queue.stats().dead == 1
        assert queue.publish(7).duplicate is False
