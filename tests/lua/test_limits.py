"""The largest calls there are: a thousand of everything, on every server."""

from __future__ import annotations

import pytest
import redis

from tests.servers import RunningServer, start
from typed_rmq import commands
from typed_rmq.commands import Verdict

from .kit import Kit, ack, attempt, bury, fields, message_id, payload, release, retry

MANY = 1_000


@pytest.fixture
def kit(server: RunningServer, client: redis.Redis, queue_name: str) -> Kit:
    return Kit(client, queue_name)


def fill(kit: Kit, count: int = MANY, **options: object) -> None:
    start = kit.made
    kit.store([kit.envelope(b"x", key=f"k{start + i}") for i in range(count)], **options)


def test_a_thousand_acks_and_a_thousand_claims_in_one_call(kit: Kit) -> None:
    fill(kit)
    fill(kit)
    first = kit.claim()
    assert len(first) == MANY
    for held in (MANY, -1):
        reply = kit.cycle(want=MANY, acks=fields(first), held=held)
        assert reply.stale == ()
        first = reply.envelopes
    assert kit.counter("completed") == 2 * MANY


@pytest.mark.parametrize("kind", ["ack", "retry", "later", "release", "dead"])
def test_a_thousand_verdicts_and_a_thousand_claims_in_one_call(kit: Kit, kind: str) -> None:
    fill(kit)
    fill(kit)
    make = {
        "ack": ack,
        "retry": retry,
        "later": lambda e: retry(e, 60_000),
        "release": release,
        "dead": bury,
    }[kind]
    verdicts: list[Verdict] = [make(e) for e in kit.claim()]
    reply = kit.cycle(want=MANY, verdicts=verdicts, keep_done=10, keep_dead=5)
    assert (len(reply.envelopes), reply.stale) == (MANY, ())
    if kind == "release":
        assert fields(reply.envelopes)[0].endswith(b":000002")
    left = {"ack": 0, "retry": MANY, "later": MANY, "release": MANY, "dead": 0}[kind]
    assert len(kit.ready()) + len(kit.delayed()) == left
    assert len(kit.dead()) == (5 if kind == "dead" else 0)


def calls_of_msetex(kit: Kit) -> int:
    return int(kit.client.info("commandstats").get("cmdstat_msetex", {}).get("calls", 0))


def test_a_thousand_keys_in_one_call(kit: Kit) -> None:
    def batch(content: str, start: int = 0) -> list[bytes]:
        numbers = range(start, start + MANY)
        return [kit.envelope(b"x", key=f"k{n}", content=content) for n in numbers]

    before = calls_of_msetex(kit)
    first = batch("one")
    assert kit.store(first).answer == ""
    known = kit.client.info("server").get("server_name") == "valkey"
    assert calls_of_msetex(kit) - before == (1 if known else 0)
    ids = [envelope[11:35].decode() for envelope in first]
    answer = ",".join(f"{i}={known}" for i, known in enumerate(ids))
    assert kit.store(batch("one")).answer == answer
    assert kit.store(batch("two")).answer == answer.replace("=", "!")
    # The last of those is the first of these: of all others nothing may be held back by it.
    assert kit.store(batch("one", MANY - 1)).answer == f"0={ids[-1]}"
    assert len(kit.ready()) == 2 * MANY - 1
    assert kit.counter("published") == 2 * MANY - 1
    assert kit.counter("duplicates") == 2 * MANY + 1


@pytest.mark.servers("valkey")
def test_a_server_whose_msetex_is_renamed_stores_key_by_key(queue_name: str) -> None:
    with start("valkey", "--rename-command", "MSETEX", "") as server, server.client() as client:
        kit = Kit(client, queue_name)
        fill(kit, 3)
        assert kit.store([kit.envelope(b"x", key=f"k{i}") for i in range(4)]).answer.count("=") == 3
        assert (len(kit.ready()), calls_of_msetex(kit)) == (4, 0)


def test_a_thousand_due_at_once(kit: Kit) -> None:
    fill(kit, delay=60_000)
    kit.all_due()
    assert len(kit.claim()) == MANY
    assert (kit.delayed(), kit.ready()) == ([], [])


def test_a_thousand_from_a_crash(kit: Kit) -> None:
    fill(kit)
    kit.claim()
    reply = kit.crash(b"a")
    assert (reply.state, len(reply.returned)) == ("reaped", MANY)
    assert {attempt(e) for e in kit.suspects()} == {1}


def test_a_thousand_dropped_purged_redriven_and_trimmed(kit: Kit) -> None:
    fill(kit)
    start = kit.made
    many = [kit.envelope(b"y", key=f"k{start + i}") for i in range(MANY)]
    reply = kit.store(many, max_length=MANY, overflow="drop_oldest")
    assert reply.answer.count("-") == MANY
    held = kit.claim()
    kit.cycle(verdicts=[bury(e) for e in held])
    ids = [message_id(e) for e in held]
    assert kit.redrive(*ids).redriven == MANY
    assert [payload(e) for e in kit.claim(want=1)] == [b"y"]
    assert kit.purge() == ("new", MANY - 1, 0)
    assert kit.client.dbsize() < 20, "dedup keys are freed"


def test_a_thousand_duplicates_and_conflicts(kit: Kit) -> None:
    fill(kit)
    kit.made = 0
    again = [kit.envelope(b"x", key=f"k{i}") for i in range(MANY)]
    assert kit.store(again).answer.count("=") == MANY
    held = kit.claim()
    kit.cycle(verdicts=[bury(e) for e in held])
    kit.made = 5 * MANY
    kit.store([kit.envelope(b"x", key=f"k{i}") for i in range(MANY)])
    kit.purge()
    kit.made = 6 * MANY
    kit.store([kit.envelope(b"x", key=f"k{i}") for i in range(MANY)])
    reply = kit.redrive(*[message_id(e) for e in held])
    assert (reply.redriven, len(reply.conflicts)) == (0, MANY)


def test_envelopes_in_the_dead_letters_are_binary_safe(kit: Kit) -> None:
    raw = bytes(range(256))
    kit.client.rpush(kit.keys.ready[1], raw)
    kit.claim()
    [entry] = kit.run(commands.dead_read(kit.keys))
    assert entry.envelope == raw
    assert kit.run(commands.dead_read(kit.keys, message_id=entry.at)) == [entry]
    for unknown in ("1-1", "9" * 40 + "-1", "1-" + "9" * 40, "x", "-", "1-1-1"):
        assert kit.run(commands.dead_read(kit.keys, message_id=unknown)) == []


def test_reasons_with_what_utf8_cannot_hold(kit: Kit) -> None:
    kit.publish(b"x")
    [held] = kit.claim()
    kit.cycle(verdicts=[Verdict(b"d", fields([held])[0], "lone \ud800 surrogate", "e\udcff")])
    [entry] = kit.run(commands.dead_read(kit.keys))
    assert (entry.reason, entry.error) == ("lone \\ud800 surrogate", "e\\udcff")
