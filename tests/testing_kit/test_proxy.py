"""Faults between a queue and a real Redis."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from tests.conftest import MakeServer
from typed_rmq import ConfigError, Queue, QueueUnavailable
from typed_rmq.testing import Proxy, QueueFactory, RedisForTests, drain, proxy


def test_nothing_happens_by_itself(rmq_queue: QueueFactory, rmq_faults: Proxy) -> None:
    numbers = rmq_queue(int, redis=rmq_faults.url)
    numbers.publish_many(range(2000), batch=500)  # several calls on their way at once
    assert drain(numbers).payloads == list(range(2000))
    assert {"publish", "consume"} <= set(rmq_faults.calls)


@pytest.mark.parametrize("lose", ["lose_request", "lose_reply"])
def test_a_lost_call_is_made_again(
    rmq_redis: RedisForTests, rmq_queue: QueueFactory, rmq_faults: Proxy, lose: str
) -> None:
    numbers = rmq_queue(int, redis=rmq_faults.url, dedup=None)
    # Also where the server does not know the script: then its refusal is not the lost reply.
    rmq_redis.client.execute_command("SCRIPT", "FLUSH")
    getattr(rmq_faults, lose)(of="publish")
    before = rmq_redis.client.execute_command("INFO", "commandstats")
    receipt = numbers.publish(1)
    after = rmq_redis.client.execute_command("INFO", "commandstats")
    assert not receipt.duplicate
    stats = numbers.stats()
    assert (stats.ready, stats.published) == (1, 1)

    def runs(info: object) -> int:
        assert isinstance(info, dict)
        return int(info.get("cmdstat_eval", {}).get("calls", 0))

    # Without the source nothing runs: a lost request runs once, a lost reply twice.
    assert runs(after) - runs(before) == (1 if lose == "lose_request" else 2)
    assert rmq_faults.calls.count("publish") >= 2


def test_a_lost_answer_to_a_claim(rmq_queue: QueueFactory, rmq_faults: Proxy) -> None:
    numbers = rmq_queue(int, redis=rmq_faults.url)
    numbers.publish_many(range(5))
    rmq_faults.lose_reply(3, of="consume")
    assert drain(numbers).payloads == list(range(5))
    assert numbers.stats().completed == 5


def test_a_fault_is_for_the_call_it_names(rmq_queue: QueueFactory, rmq_faults: Proxy) -> None:
    numbers = rmq_queue(int, redis=rmq_faults.url)
    rmq_faults.lose_request(of="consume")
    numbers.publish(1)
    assert rmq_faults.calls.count("publish") <= 2  # with EVALSHA and, unknown, with EVAL
    assert numbers.stats().ready == 1


def test_down(rmq_queue: QueueFactory, rmq_faults: Proxy) -> None:
    numbers = rmq_queue(int, redis=rmq_faults.url, retry_budget=0.1)
    numbers.publish(1)
    with rmq_faults.down():
        assert "down" in repr(rmq_faults)
        with pytest.raises(QueueUnavailable):
            numbers.publish(2)
    numbers.publish(3)
    assert [one.payload for one in numbers.peek()] == [1, 3]


def test_unavailable_for_n_calls(rmq_queue: QueueFactory, rmq_faults: Proxy) -> None:
    numbers = rmq_queue(int, redis=rmq_faults.url)
    rmq_faults.lose_request(3)
    numbers.publish(1)
    assert len(rmq_faults.calls) >= 4
    assert numbers.stats().published == 1


def test_slow(rmq_queue: QueueFactory, rmq_faults: Proxy) -> None:
    numbers = rmq_queue(int, redis=rmq_faults.url)
    numbers.publish(1)
    rmq_faults.slow = 0.05
    began = time.monotonic()
    numbers.publish(2)
    assert time.monotonic() - began >= 0.05
    rmq_faults.lose_request()
    rmq_faults.heal()
    assert rmq_faults.slow == 0.0
    before = len(rmq_faults.calls)
    numbers.publish(3)
    assert len(rmq_faults.calls) == before + 1


def test_cut_in_a_wait(rmq_queue: QueueFactory, rmq_faults: Proxy) -> None:
    numbers = rmq_queue(int, redis=rmq_faults.url)
    seen: list[int] = []
    consumer = threading.Thread(
        target=lambda: seen.extend(msg.payload for msg in numbers.consume(max_messages=1))
    )
    consumer.start()
    deadline = time.monotonic() + 10
    while "blpop" not in rmq_faults.calls:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    rmq_faults.cut()
    numbers.publish(1)
    consumer.join(14)
    assert seen == [1]


def test_a_client_of_ones_own(rmq_faults: Proxy) -> None:
    with redis.Redis.from_url(rmq_faults.url, protocol=3) as client:
        client.set("key", b"x" * 300_000)
        assert client.get("key") == b"x" * 300_000
        with client.pipeline() as pipe:
            pipe.incr("n").incr("n").incr("n")
            assert pipe.execute() == [1, 2, 3]
    assert rmq_faults.calls.count("incrby") == 3


def test_before_tcp(make_server: MakeServer) -> None:
    server = make_server(tcp=True)
    with Proxy(server.url) as proxy, Queue[int]("numbers", proxy.url) as numbers:
        numbers.publish(1)
        assert numbers.stats().ready == 1
        server.stop()  # what the proxy meets is passed on: a broken connection
        with pytest.raises(redis.ConnectionError):
            redis.Redis.from_url(proxy.url, retry=None).ping()
    proxy.close()  # once more does no harm


def test_only_plain_addresses() -> None:
    with pytest.raises(ConfigError):
        Proxy("rediss://localhost")


def test_every_script_has_its_name_in_the_docstring() -> None:
    assert Proxy.__doc__ is not None
    for name in set(proxy._NAMES.values()):
        assert f'``"{name}"``' in Proxy.__doc__
