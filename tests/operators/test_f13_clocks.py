"""F13, F14: only the server's clock counts, and where it steps the fence holds."""

from __future__ import annotations

import time

import pytest
import redis

from typed_rmq import Queue
from typed_rmq.keys import QueueKeys
from typed_rmq.testing import redis_for_tests

HOUR = 3600.0


def test_f13_a_clock_that_steps_forward_ends_leases_early_and_the_fence_holds() -> None:
    with (
        redis_for_tests() as server,
        Queue[int]("steps", server.url) as first,
        Queue[int]("steps", server.url) as second,
    ):
        first.publish(1)
        mine = first.receive()
        assert mine is not None
        server.advance(2 * HOUR)
        # Seen expired twice, a grace apart, the message goes to the second one.
        theirs = second.receive(timeout=30)
        assert theirs is not None
        assert theirs.id == mine.id
        theirs.ack()
        theirs.settle()
        mine.ack()
        first.close()
        stats = second.stats()
        assert (stats.completed, stats.stale) == (1, 1)
        assert second.audit().clean


def test_f13_a_clock_that_steps_back_loses_nothing(
    redis_url: str, client: redis.Redis, queue_name: str
) -> None:
    keys = QueueKeys(queue_name)
    with Queue[int](queue_name, redis_url, lease=1.0) as queue:
        queue.publish_many([1, 2])
        message = queue.receive()
        assert message is not None
        # As if the clock had stood an hour later when the lease was given.
        [(session, score)] = client.zrange(keys.sessions, 0, -1, withscores=True)
        client.zadd(keys.sessions, {session: score + HOUR * 1000})
        # The next renewal sets it right.
        deadline = time.monotonic() + 20
        while client.zscore(keys.sessions, session) > score + HOUR * 500:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        message.ack()
        message.settle()
        assert [msg.payload for msg in queue.consume(until_empty=True)] == [2]
        assert queue.audit().clean


@pytest.mark.parametrize("wrong", [0.0, 4e9])
def test_f14_the_clients_clock_does_not_matter(
    redis_url: str, client: redis.Redis, queue_name: str, monkeypatch: pytest.MonkeyPatch,
    wrong: float,
) -> None:  # fmt: skip
    monkeypatch.setattr(time, "time", lambda: wrong)
    with Queue[int](queue_name, redis_url, lease=2.0) as queue:
        queue.publish(1, delay=0.3)
        assert queue.receive() is None
        message = queue.receive(timeout=20)
        assert message is not None
        theirs = client.time()[0]
        assert abs(message.published_at.timestamp() - theirs) < 60
        message.retry(delay=0.1)
        again = queue.receive(timeout=20)
        assert again is not None
        assert again.attempt == 2
        again.ack()
