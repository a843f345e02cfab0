"""The scripts that only look: stats, peek, dead_read. They change nothing, and miss nothing."""

from __future__ import annotations

import pytest
import redis

from tests.servers import RunningServer
from typed_rmq import commands

from .kit import Kit, ack, bury, now_ms, payload


@pytest.fixture
def kit(server: RunningServer, client: redis.Redis, queue_name: str) -> Kit:
    return Kit(client, queue_name)


def fill(kit: Kit) -> None:
    """Two suspects, two of each priority, two delayed, two held, one dead, one done."""
    kit.publish(b"s1", b"s2")
    kit.claim(b"crashing")
    kit.crash(b"crashing")
    moved = kit.client.lrange(kit.keys.suspects, 0, -1)
    kit.client.delete(kit.keys.suspects)
    kit.publish(b"h1", b"h2", b"dead", b"done", priority="high")
    held = kit.claim(want=4)
    kit.cycle(verdicts=[bury(held[2]), ack(held[3], 1234)], keep_done=5)
    for priority in ("low", "normal", "high"):
        kit.publish(priority.encode() + b"1", priority.encode() + b"2", priority=priority)
    kit.publish(b"later", delay=20_000)
    kit.publish(b"sooner", delay=10_000)
    kit.client.rpush(kit.keys.suspects, *moved)


def test_stats_count_everything(kit: Kit) -> None:
    empty = kit.run(commands.stats(kit.keys))
    assert empty[:8] == (0, 0, 0, 0, 0, 0, 0, False)
    assert empty.counters == {}
    fill(kit)
    kit.cycle(b"idle")
    kit.cycle(b"expired")
    kit.expire(b"expired")
    kit.pause()
    before = kit.dump()
    found = kit.run(commands.stats(kit.keys))
    assert kit.dump() == before
    assert (found.ready, found.delayed, found.in_flight) == (8, 2, 2)
    assert (found.dead, found.done, found.consumers, found.paused) == (1, 1, 2, True)
    assert 0 <= found.oldest_ms < 60_000
    assert found.counters["published"] == 14
    assert found.counters["completed"] == 1


def test_the_oldest_is_the_oldest_of_all_lists_by_the_clock_of_redis(kit: Kit) -> None:
    kit.publish(b"young", priority="high")
    kit.publish(b"old", priority="low")
    [envelope] = kit.client.lrange(kit.keys.ready[2], 0, -1)
    seconds, _ = kit.client.time()
    old = b"1%013d" % ((seconds - 90) * 1000) + envelope[14:]
    kit.client.lset(kit.keys.ready[2], 0, old)
    assert 89_000 <= kit.run(commands.stats(kit.keys)).oldest_ms <= 92_000
    future = b"1%013d" % ((seconds + 90) * 1000) + envelope[14:]
    kit.client.delete(*kit.keys.ready)
    kit.client.rpush(kit.keys.ready[0], future, b"foreign")
    kit.client.rpush(kit.keys.ready[1], b"foreign")
    assert kit.run(commands.stats(kit.keys)).oldest_ms == 0


def test_peek_shows_each_state_in_its_order(kit: Kit) -> None:
    fill(kit)
    before = kit.dump()

    def peek(state: str, limit: int = 100) -> list[tuple[bytes, ...]]:
        found = kit.run(commands.peek(kit.keys, state=state, limit=limit))  # type: ignore[arg-type]  # from a list of names
        return [(payload(item[0]), *item[1:]) for item in found]

    ready = [b"s1", b"s2", b"high1", b"high2", b"normal1", b"normal2", b"low1", b"low2"]
    assert [item[0] for item in peek("ready")] == ready
    assert [item[0] for item in peek("ready", 3)] == ready[:3]
    assert [item[0] for item in peek("delayed")] == [b"sooner", b"later"]
    assert [item[0] for item in peek("delayed", 1)] == [b"sooner"]
    assert 9_000 < int(peek("delayed")[0][1]) - now_ms() <= 11_000
    assert peek("in_flight") == [(b"h1", b"a"), (b"h2", b"a")]
    assert len(peek("in_flight", 1)) == 1
    [(dead, _, reason, error)] = peek("dead")
    assert (dead, reason, error) == (b"dead", b"no good", b"Error: x")
    [(done, _, duration)] = peek("done")
    assert (done, duration) == (b"done", b"1234")
    assert kit.dump() == before


def test_dead_letters_come_in_pages_oldest_first(kit: Kit) -> None:
    kit.publish(*[b"%d" % i for i in range(7)])
    kit.cycle(verdicts=[bury(e) for e in kit.claim()])
    seen: list[bytes] = []
    after = "-"
    while page := kit.run(commands.dead_read(kit.keys, after=after, limit=3)):
        assert len(page) <= 3
        seen += [payload(entry.envelope) for entry in page]
        after = page[-1].at
    assert seen == [b"%d" % i for i in range(7)]
    found = kit.run(commands.dead_read(kit.keys, message_id="idididididididid00000004"))
    assert [(payload(e.envelope), e.reason, e.error, e.traceback) for e in found] == [
        (b"3", "no good", "Error: x", "Traceback")
    ]
    assert kit.run(commands.dead_read(kit.keys, message_id="idididididididid00000009")) == []


def test_the_last_consumer_leaves_an_empty_queue_as_it_was(kit: Kit) -> None:
    """Section 8: what is left are counters, and lanes that end by themselves."""
    kit.publish(*[b"%d" % i for i in range(5)])
    kit.publish(b"x", key="K", until_done=True, window=0)
    kit.publish(b"later", delay=1_000)
    kit.all_due()
    held = kit.claim()
    assert len(held) == 7
    kit.cycle(verdicts=[bury(held[0])])
    kit.redrive()
    held = held[1:] + kit.claim()
    kit.cycle(verdicts=[ack(e) for e in held])
    kit.cycle(closing=True)
    left = {key.removeprefix(kit.keys.prefix) for key in kit.dump()}
    assert left == {b"stats", b"lane:a", b"lane:producer", b"lane:admin"}
    for lane in (b"a", b"producer", b"admin"):
        assert kit.client.pttl(kit.keys.lane(lane)) > 0
