"""F15: kill -9 in a handler. What the process held comes back within the lease."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.faults.actors import eventually
from tests.faults.conftest import Act
from typed_rmq import Queue, Retry

pytestmark = pytest.mark.servers("valkey")

LEASE = 0.6

HOLD = f"""
queue = Queue[int](NAME, URL, lease={LEASE})
for msg in queue.consume(prefetch=int(sys.argv[3])):
    say("got", msg.payload, msg.attempt)
    time.sleep(60)
"""

AHOLD = f"""
async def main():
    queue = Queue[int](NAME, URL, lease={LEASE})
    async for msg in queue.consume(prefetch=int(sys.argv[3])):
        say("got", msg.payload, msg.attempt)
        await asyncio.sleep(60)

asyncio.run(main())
"""

RUN = f"""
def handle(number: int) -> None:
    say("got", number, 1)
    time.sleep(60)

Queue[int](NAME, URL, lease={LEASE}).run(handle, prefetch=int(sys.argv[3]), concurrency=1)
"""


def _queue(url: str, name: str, **options: Any) -> Queue[int]:
    return Queue[int](name, url, dedup=None, lease=LEASE, **options)


@pytest.mark.parametrize("script", [HOLD, AHOLD, RUN], ids=["for", "async for", "run"])
def test_f15_kill_in_a_handler_is_redelivered_within_the_lease(
    act: Act, redis_url: str, queue_name: str, script: str
) -> None:
    with _queue(redis_url, queue_name) as queue:
        queue.publish(7)
        actor = act(script, 1)
        actor.expect("got 7 1")
        actor.kill()
        killed = time.monotonic()
        message = queue.receive(timeout=10)
        waited = time.monotonic() - killed
        assert message is not None
        assert (message.payload, message.attempt) == (7, 2)
        # Within the lease; what is over it is for a busy machine.
        assert waited < LEASE + 1.0
        message.ack()
        message.settle()
        stats = queue.stats()
        assert (stats.completed, stats.failed, stats.in_flight, stats.ready) == (1, 1, 0, 0)


@pytest.mark.parametrize("script", [HOLD, AHOLD], ids=["for", "async for"])
def test_f15_batch_mates_come_back_uncounted_and_each_suspect_is_alone(
    act: Act, redis_url: str, queue_name: str, script: str
) -> None:
    with _queue(redis_url, queue_name) as queue:
        queue.publish_many(range(5))
        actor = act(script, 5)
        actor.expect("got 0 1")
        assert queue.stats().in_flight == 5
        actor.kill()
        # A message that nobody suspects; it must not be in one pair of hands with a suspect.
        queue.publish(99)
        seen: list[tuple[int, int]] = []
        for msg in queue.consume(prefetch=10, max_messages=6):
            if msg.payload != 99:
                stats = queue.stats()
                assert stats.in_flight == 1, "a suspect is delivered alone"
            with msg as number:
                seen.append((number, msg.attempt))
        assert sorted(seen) == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (99, 1)]
        assert queue.stats().completed == 6


def test_f15_two_idle_consumers_share_what_a_third_held(
    act: Act, redis_url: str, queue_name: str
) -> None:
    """The reaper wakes others: nobody waits until his own time is over."""
    with _queue(redis_url, queue_name) as queue:
        queue.publish_many(range(4))
        victim = act(HOLD, 4)
        victim.expect("got 0 1")
        helper = """
        queue = Queue[int](NAME, URL, lease=1.0)
        for msg in queue.consume(idle_timeout=1.2):
            with msg as number:
                say(number)
                time.sleep(0.05)
        """
        helpers = [act(helper), act(helper)]
        eventually(lambda: queue.stats().consumers == 3)
        victim.kill()
        done = [helper.rest() for helper in helpers]
        assert sorted(done[0] + done[1]) == ["0", "1", "2", "3"]
        for one in helpers:
            one.ends_well()
        stats = queue.stats()
        assert (stats.completed, stats.consumers, stats.in_flight) == (4, 0, 0)


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_f15_a_poison_message_dies_alone(act: Act, redis_url: str, queue_name: str) -> None:
    """A message that kills its process each time becomes a dead letter; its neighbours live."""
    crashing = """
    queue = Queue[int](NAME, URL, lease=0.5, dedup=None, retry=Retry(max_attempts=3))
    say("up")
    for msg in queue.consume(prefetch=5, idle_timeout=0.9):
        with msg as number:
            if number == 3:
                os.kill(os.getpid(), signal.SIGKILL)
    say("end")
    """
    with _queue(redis_url, queue_name, retry=Retry(max_attempts=3)) as queue:
        queue.publish_many(range(10))
        crashes = 0
        while True:
            actor = act(crashing)
            lines = actor.rest()
            if "end" in lines:
                break
            crashes += 1
            assert crashes <= 5
        # Once among its batch-mates, uncounted, then three attempts alone.
        assert crashes in (3, 4)
        stats = queue.stats()
        assert (stats.completed, stats.dead, stats.ready, stats.delayed, stats.in_flight) == (
            9,
            1,
            0,
            0,
            0,
        )
        (letter,) = queue.dead
        assert (letter.payload, letter.attempts) == (3, 3)
        assert "crashed" in letter.reason


def test_f15_a_crash_at_the_last_attempt_is_a_dead_letter(
    act: Act, redis_url: str, queue_name: str
) -> None:
    with _queue(redis_url, queue_name, retry=Retry(max_attempts=1)) as queue:
        queue.publish(1)
        actor = act(HOLD, 1)
        actor.expect("got 1 1")
        actor.kill()
        deadline = time.monotonic() + 10
        while not queue.stats().dead:
            assert queue.receive(timeout=0.05) is None
            assert time.monotonic() < deadline
        (letter,) = queue.dead
        assert (letter.payload, letter.attempts) == (1, 1)
        assert "crashed" in letter.reason
