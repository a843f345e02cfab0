"""``audit``: a queue at work is clean, and each kind of damage, planted by hand, is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis

from tests.conftest import MakeServer
from tests.servers import RunningServer
from typed_rmq import Audit, ConfigError, Dedup, Queue, Retry
from typed_rmq.keys import QueueKeys

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]
FOREIGN = b"no message"


def filled(name: str, url: str) -> Queue[int]:
    """A queue with a message in every place, and the session that holds one."""
    queue = Queue[int](
        name, url, dedup=Dedup(until="done"), retry=Retry(max_attempts=2, jitter="none"),
        keep_done=10,
    )  # fmt: skip
    queue.publish_many([1, 2, 3])
    queue.publish(4, priority="high")
    queue.publish(5, priority="low")
    queue.publish(6, delay=3600)
    for verdict in ("done", "dead", "held"):
        message = queue.receive()
        assert message is not None
        if verdict == "done":
            message.ack()
            message.settle()
        elif verdict == "dead":
            message.reject("not wanted")
            message.settle()
        else:
            # Kept by whoever asked: one that is dropped counts as failed.
            kept.append(message)
    return queue


kept: list[Any] = []


@pytest.fixture(autouse=True)
def let_go() -> Any:
    yield
    for message in kept:
        if message.held:
            message.release()
    kept.clear()


def words(audit: Audit) -> str:
    return "\n".join(str(one) for one in audit.findings)


def test_a_queue_with_a_message_in_every_place_is_clean(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    with filled(queue_name, redis_url) as queue:
        found = queue.audit()
        assert found.findings == ()
        assert (found.clean, found.messages, found.steps) == (True, 6, 1)

        async def asynchronous() -> Audit:
            found = await queue.aaudit()
            await queue.aclose()
            return found

        kept.pop().release()
        assert run_async(asynchronous()).clean


Damage = Callable[[redis.Redis, QueueKeys], object]


def held_key(client: redis.Redis, keys: QueueKeys) -> bytes:
    [session] = client.zrange(keys.sessions, 0, -1)
    assert isinstance(session, bytes)
    return keys.inflight(session)


def copy_to_ready(client: redis.Redis, keys: QueueKeys) -> None:
    client.rpush(keys.ready[1], client.lindex(keys.ready[1], 0))


def hold_under_another_name(client: redis.Redis, keys: QueueKeys) -> None:
    key = held_key(client, keys)
    [(field, envelope)] = client.hgetall(key).items()
    client.hdel(key, field)
    client.hset(key, field[:-1] + b"9", envelope)


def forget_the_session(client: redis.Redis, keys: QueueKeys) -> None:
    client.delete(keys.sessions)


def free_the_dedup_key(client: redis.Redis, keys: QueueKeys) -> None:
    client.delete(*client.keys(keys.dedup + b"*"))


def complete_without_removal(client: redis.Redis, keys: QueueKeys) -> None:
    client.xadd(keys.done, {"e": client.lindex(keys.ready[1], 0), "d": "1"})
    client.hincrby(keys.stats, "completed", 1)


def move_between_priorities(client: redis.Redis, keys: QueueKeys) -> None:
    client.lmove(keys.ready[1], keys.ready[0], "LEFT", "RIGHT")


def suspect_among_ready(client: redis.Redis, keys: QueueKeys) -> None:
    first = client.lindex(keys.ready[1], 0)
    client.lset(keys.ready[1], 0, first[:15] + b"s" + first[16:])


def dead_twice(client: redis.Redis, keys: QueueKeys) -> None:
    [(_, fields)] = client.xrange(keys.dead)
    client.xadd(keys.dead, fields)


DAMAGE: dict[str, tuple[Damage, str]] = {
    "a message is taken out": (
        lambda client, keys: client.lpop(keys.ready[1]),
        "1 messages are nowhere",
    ),
    "a delayed message is taken out": (
        lambda client, keys: client.zpopmin(keys.delayed),
        "1 messages are nowhere",
    ),
    "what is held is deleted": (
        lambda client, keys: client.delete(held_key(client, keys)),
        "1 messages are nowhere",
    ),
    "a message is copied": (copy_to_ready, "are twice: ready:normal and ready:normal"),
    "foreign bytes are pushed": (
        lambda client, keys: client.rpush(keys.ready[1], FOREIGN),
        "ready:normal holds bytes without the head of a message",
    ),
    "a message lies with another priority": (
        move_between_priorities,
        "are in ready:high with another priority",
    ),
    "a suspect is not alone": (suspect_among_ready, "are crash suspects in ready:normal"),
    "a message is no suspect": (
        lambda client, keys: client.lmove(keys.ready[1], keys.suspects, "LEFT", "RIGHT"),
        "without the mark of a suspect",
    ),
    "the fence is another": (hold_under_another_name, "under the name of another delivery"),
    "the session is forgotten": (forget_the_session, "its session is not registered"),
    "a dedup key is gone": (free_the_dedup_key, "no longer hold their dedup key"),
    "an acked message is still there": (complete_without_removal, "were completed and are still"),
    "a dead letter is not in the index": (
        lambda client, keys: client.delete(keys.dead_ids),
        "the index dead:ids does not lead to them",
    ),
    "the index leads nowhere": (
        lambda client, keys: client.delete(keys.dead),
        "which leads to no dead letter",
    ),
    "a dead letter is there twice": (dead_twice, "are twice: dead and dead"),
    "a counter is too small": (
        lambda client, keys: client.hincrby(keys.stats, "published", -1),
        "1 messages more than were published",
    ),
    "a counter is none": (
        lambda client, keys: client.hset(keys.stats, "completed", "many"),
        "the counter completed in stats is 'many'",
    ),
    "failures are forgotten": (
        lambda client, keys: client.hset(keys.stats, "retried", "7"),
        "fewer failures are counted than retries",
    ),
    "dead letters are not counted": (
        lambda client, keys: client.hset(keys.stats, "dead_lettered", "0"),
        "fewer dead letters are counted",
    ),
    "completions are not counted": (
        lambda client, keys: client.hset(keys.stats, "completed", "0"),
        "fewer completions are counted",
    ),
    "the bell rings without end": (
        lambda client, keys: client.rpush(keys.bell, "1", "1"),
        "the bell holds",
    ),
    "a key is of another type": (
        lambda client, keys: (client.delete(keys.delayed), client.set(keys.delayed, "x")),
        "is not of the type that typed_rmq makes",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told(redis_url: str, client: redis.Redis, queue_name: str, damage: str) -> None:
    plant, said = DAMAGE[damage]
    with filled(queue_name, redis_url) as queue:
        assert queue.audit().clean
        plant(client, QueueKeys(queue_name))
        found = queue.audit()
        assert not found.clean
        assert said in words(found)
        assert all(one.advice for one in found.findings)
        # It only looks: the next audit finds the same.
        assert words(queue.audit()) == words(found)
        client.delete(*client.keys(QueueKeys(queue_name).prefix + b"*"))
        kept.pop()


def test_a_large_queue_is_walked_in_steps(
    redis_url: str, client: redis.Redis, queue_name: str
) -> None:
    keys = QueueKeys(queue_name)
    with filled(queue_name, redis_url) as queue:
        queue.publish_many(range(100, 2700))
        queue.publish_many(range(3000, 4200), delay=3600)
        found = queue.audit(limit=3000)
        assert found.clean, words(found)
        assert found.steps > 5
        assert found.messages == 3806
        assert "each call saw a snapshot" in words(found)
        assert queue.audit().steps == 1

        client.rpush(keys.ready[1], FOREIGN)
        client.delete(keys.dead_ids)
        client.delete(*list(client.scan_iter(keys.dedup + b"*", count=10_000))[:1])
        found = queue.audit(limit=3000)
        assert not found.clean
        for said in ("ready:normal holds bytes", "dead:ids does not lead", "their dedup key"):
            assert said in words(found)


def test_purged_messages_are_accounted_for(redis_url: str, queue_name: str) -> None:
    with filled(queue_name, redis_url) as queue:
        assert queue.purge() == 3
        assert queue.dead.purge() == 1
        queue.publish_many([10, 11, 12])
        assert queue.audit().findings == ()
        kept.pop().release()


def test_a_busy_queue_is_clean(redis_url: str, queue_name: str) -> None:
    """Audits beside publishers, consumers that fail, retries, and dead letters."""
    queue = Queue[int](
        queue_name, redis_url, retry=Retry(max_attempts=2, backoff=0.01, jitter="none"),
        keep_dead=20, keep_done=20,
    )  # fmt: skip
    stop = threading.Event()

    def publish() -> None:
        number = 0
        while not stop.is_set():
            queue.publish_many(range(number, number + 20), priority="high" if number % 3 else "low")
            number += 10

    def handle(number: int) -> None:
        if number % 7 == 0:
            raise ValueError(number)

    consumer = threading.Thread(
        target=lambda: queue.run(handle, concurrency=2, stop_on_signals=False, idle_timeout=0.5)
    )
    publisher = threading.Thread(target=publish)
    publisher.start()
    consumer.start()
    try:
        end = time.monotonic() + 1.0
        audits = 0
        while time.monotonic() < end or audits < 3:
            found = queue.audit(limit=100_000)
            assert found.clean, words(found)
            audits += 1
    finally:
        stop.set()
        publisher.join()
        consumer.join()
        queue.close()
    assert found.messages > 0


def test_orphans_that_cannot_be_looked_for_are_told(
    make_server: MakeServer, server: RunningServer
) -> None:
    own = make_server(server.kind, tcp=True)
    own.command("ACL", "SETUSER", "shop", "on", ">secret", "~trmq:*", "+@all", "-scan")
    with Queue[int]("q", own.url.replace("redis://", "redis://shop:secret@")) as queue:
        found = queue.audit()
        assert found.clean
        assert "may not SCAN" in words(found)


def test_a_wrong_limit_is_refused(redis_url: str, queue_name: str) -> None:
    with Queue[int](queue_name, redis_url) as queue, pytest.raises(ConfigError, match="limit"):
        queue.audit(limit=0)
