"""Time passes for a queue: delays, retries, leases, dedup windows, on every server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from tests.servers import RunningServer
from typed_rmq import ConfigError, Dedup, LeaseLost, Queue, Retry
from typed_rmq.testing import RedisForTests, crash, drain, published

DAY = 86_400.0


@pytest.fixture
def kit(server: RunningServer) -> Iterator[RedisForTests]:
    found = RedisForTests(server.url)
    yield found
    found.empty()
    found.close()


def test_empty_deletes_every_key(kit: RedisForTests) -> None:
    kit.client.execute_command("SET", "mine", "1")
    kit.empty()
    assert kit.client.execute_command("DBSIZE") == 0


@pytest.mark.parametrize("time", [-1.0, float("nan")])
def test_time_does_not_go_back(kit: RedisForTests, time: float) -> None:
    with pytest.raises(ConfigError):
        kit.advance(time)


def test_a_delayed_message_becomes_ready_on_its_second(kit: RedisForTests) -> None:
    with Queue[str]("later", kit.url) as later:
        later.publish("tomorrow", delay=DAY)
        kit.advance(DAY - 60)
        assert drain(later).payloads == []
        assert published(later) == ["tomorrow"]
        kit.advance(60)
        assert drain(later).payloads == ["tomorrow"]
        assert later.stats().delayed == 0


def test_the_order_of_due_times_stays(kit: RedisForTests) -> None:
    with Queue[int]("later", kit.url) as later:
        for number in (3, 1, 2):
            later.publish(number, delay=60.0 * number)
        kit.advance(180)
        assert drain(later).payloads == [1, 2, 3]


def test_retries_come_when_their_time_has_come(kit: RedisForTests) -> None:
    retry = Retry(max_attempts=3, backoff=100, factor=1, jitter="none")
    with Queue[str]("failing", kit.url, retry=retry) as failing:
        failing.publish("x")

        def fail(text: str) -> None:
            raise RuntimeError("broken")

        attempts: list[int] = []
        for _ in range(5):
            attempts += [one.attempt for one in drain(failing, fail, keep_errors=True).deliveries]
            kit.advance(50)  # half of the backoff
        assert attempts == [1, 2, 3]
        assert len(failing.dead) == 1


def test_a_dedup_window_closes(kit: RedisForTests) -> None:
    with Queue[str]("once", kit.url, dedup=Dedup(window=3600)) as once:
        first = once.publish("x")
        kit.advance(3599 - 5)
        assert once.publish("x").id == first.id
        kit.advance(10)
        assert not once.publish("x").duplicate


def test_keys_of_others_expire_as_well(kit: RedisForTests) -> None:
    kit.client.execute_command("SET", "limit", "1", "EX", 100)
    kit.client.execute_command("SET", "session", "1", "EX", 1000)
    kit.client.execute_command("SET", "forever", "1")
    kit.advance(100)
    assert kit.client.execute_command("MGET", "limit", "session", "forever") == [None, b"1", b"1"]
    left = kit.client.execute_command("PTTL", "session")
    assert isinstance(left, int)
    assert 0 < left <= 900_000
    assert kit.client.execute_command("PTTL", "forever") == -1
    kit.empty()


def test_a_crashed_consumer_loses_its_message_when_its_lease_is_over(kit: RedisForTests) -> None:
    with Queue[str]("orders", kit.url, lease=2.0) as orders:
        orders.publish("a")
        held = crash(orders)
        kit.advance(1.0)
        assert orders.stats().consumers == 1
        kit.advance(1.0)
        assert orders.stats().consumers == 0
        (again,) = drain(orders, idle=5.0).deliveries
        assert (again.id, again.attempt) == (held.id, 2)
        assert orders.stats().completed == 1


def test_a_consumer_frozen_past_its_lease_has_lost_it(kit: RedisForTests) -> None:
    with (
        Queue[str]("orders", kit.url, lease=2.0) as frozen,
        Queue[str]("orders", kit.url, lease=2.0) as other,
    ):
        frozen.publish("a")
        message = frozen.receive()
        assert message is not None
        # Its keeper renews the lease every 0.7 s: the time jumps again until it was too late.
        deadline = time.monotonic() + 30
        taken: list[str] = []
        while not taken and time.monotonic() < deadline:
            kit.advance(2.0)
            taken = drain(other, idle=0.2).payloads
        assert taken == ["a"]
        if message.held:
            message.ack()
            with pytest.raises(LeaseLost):
                message.settle()
        assert message.lease_lost


def test_an_idle_consumer_wakes_up(kit: RedisForTests) -> None:
    """It sleeps until a due time that is nearer now."""
    with Queue[str]("later", kit.url) as later, Queue[str]("later", kit.url) as other:
        other.publish("x", delay=DAY)
        seen: list[str] = []
        consumer = threading.Thread(
            target=lambda: seen.extend(msg.payload for msg in later.consume(max_messages=1))
        )
        consumer.start()
        _until_blocked(kit.client)
        kit.advance(DAY)
        consumer.join(14)  # less than the 15 s after which it looks for itself
        assert seen == ["x"]


def test_idle_consumers_keep_their_leases(kit: RedisForTests) -> None:
    """All of them are woken, as each lease has come to its end."""
    queues = [Queue[str]("orders", kit.url) for _ in range(3)]
    loops = [threading.Thread(target=lambda q=q: [None for _ in q]) for q in queues]
    for loop in loops:
        loop.start()
    _until_blocked(kit.client, 3)
    kit.advance(60)
    deadline = time.monotonic() + 10
    while queues[0].stats().consumers < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for queue in queues:
        queue.close()
    for loop in loops:
        loop.join()


def _until_blocked(client: redis.Redis, count: int = 1) -> None:
    deadline = time.monotonic() + 10
    while True:
        info = client.execute_command("INFO", "clients")
        assert isinstance(info, dict)
        if info["blocked_clients"] >= count:
            return
        assert time.monotonic() < deadline
        time.sleep(0.005)
