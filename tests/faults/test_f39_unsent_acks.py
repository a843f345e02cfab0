"""F39: a crash with acks that were not sent yet. What Redis has not confirmed comes back."""

from __future__ import annotations

import pytest

from tests.faults.actors import eventually
from tests.faults.conftest import Act
from typed_rmq import Queue

pytestmark = pytest.mark.servers("valkey")

LEASE = 0.5


@pytest.mark.parametrize("mode", ["for", "async for"])
def test_f39_acks_that_lingered_at_a_crash_are_redelivered(
    act: Act, redis_url: str, queue_name: str, mode: str
) -> None:
    # Told of a completion means that Redis has it: so nothing may be told here.
    script = f"""
    class Told(Observer):
        def settled(self, event):
            say("settled")

    queue = Queue[int](NAME, URL, lease={LEASE}, observers=[Told()])

    def handle(msg):
        if msg.payload == 3:
            say("three acks are on their way")
            os.kill(os.getpid(), signal.SIGKILL)

    async def main():
        async for msg in queue.consume(prefetch=5, ack_linger=60):
            handle(msg)

    if "{mode}" == "for":
        for msg in queue.consume(prefetch=5, ack_linger=60):
            handle(msg)
    else:
        asyncio.run(main())
    """
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish_many(range(5))
        actor = act(script)
        assert actor.rest() == ["three acks are on their way"]
        assert queue.stats().completed == 0
        seen = []
        for msg in queue.consume(max_messages=5):
            with msg as number:
                seen.append(number)
        assert sorted(seen) == [0, 1, 2, 3, 4]
        assert queue.stats().completed == 5


@pytest.mark.parametrize("mode", ["for", "async for"])
def test_f39_a_settled_ack_survives_a_crash(
    act: Act, redis_url: str, queue_name: str, mode: str
) -> None:
    script = f"""
    queue = Queue[int](NAME, URL, lease={LEASE})

    async def main():
        async for msg in queue.consume(prefetch=2, ack_linger=60):
            msg.ack()
            await msg.asettle()
            os.kill(os.getpid(), signal.SIGKILL)

    if "{mode}" == "for":
        for msg in queue.consume(prefetch=2, ack_linger=60):
            msg.ack()
            msg.settle()
            os.kill(os.getpid(), signal.SIGKILL)
    else:
        asyncio.run(main())
    """
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish_many(range(2))
        actor = act(script)
        assert actor.wait() == -9
        assert queue.stats().completed == 1
        seen = [msg.payload for msg in queue.consume(max_messages=1)]
        assert seen == [1]
        stats = queue.stats()
        assert (stats.completed, stats.ready, stats.in_flight) == (2, 0, 0)


@pytest.mark.parametrize("mode", ["for", "async for"])
def test_f39_an_ack_reaches_redis_while_its_consumer_waits_or_works(
    act: Act, redis_url: str, queue_name: str, mode: str
) -> None:
    """The linger is a bound: an ack is not held back by a long wait or a slow next message."""
    script = f"""
    queue = Queue[int](NAME, URL, lease={LEASE})

    async def main():
        async for msg in queue.consume(prefetch=2):
            if msg.payload == 1:
                say("second")
                await asyncio.sleep(60)

    if "{mode}" == "for":
        for msg in queue.consume(prefetch=2):
            if msg.payload == 1:
                say("second")
                time.sleep(60)
    else:
        asyncio.run(main())
    """
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish_many(range(2))
        actor = act(script)
        actor.expect("second")
        eventually(lambda: queue.stats().completed == 1, 3)
        actor.kill()
