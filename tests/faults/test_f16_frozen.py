"""F16: a consumer that stands still past its lease, and then goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.faults.actors import Actor, eventually
from tests.faults.conftest import Act
from typed_rmq import Queue

pytestmark = pytest.mark.servers("valkey")

LEASE = 0.6

SETTLE = f"""
queue = Queue[int](NAME, URL, lease={LEASE})
msg = queue.receive(timeout=10)
say("got", msg.payload, msg.attempt)
time.sleep(0.4)
try:
    say("lost", msg.lease_lost)
    msg.ack()
    msg.settle()
    say("settled")
except LeaseLost as error:
    assert error.message_id == msg.id
    say("LeaseLost")
say("next", queue.receive(timeout=0))
queue.close()
"""

ASETTLE = f"""
async def main():
    queue = Queue[int](NAME, URL, lease={LEASE})
    msg = await queue.areceive(timeout=10)
    say("got", msg.payload, msg.attempt)
    await asyncio.sleep(0.4)
    try:
        say("lost", msg.lease_lost)
        msg.ack()
        await msg.asettle()
        say("settled")
    except LeaseLost as error:
        assert error.message_id == msg.id
        say("LeaseLost")
    say("next", await queue.areceive(timeout=0))
    await queue.aclose()

asyncio.run(main())
"""

LOOP = f"""
class Told(Observer):
    def stale(self, event):
        say("stale", event.message_id)

queue = Queue[int](NAME, URL, lease={LEASE}, observers=[Told()])
for msg in queue.consume(prefetch=1, idle_timeout=0.4):
    with msg as number:
        say("got", number, msg.attempt)
        time.sleep(0.4)
say("end")
"""

ALOOP = f"""
class Told(Observer):
    def stale(self, event):
        say("stale", event.message_id)

async def main():
    queue = Queue[int](NAME, URL, lease={LEASE}, observers=[Told()])
    async for msg in queue.consume(prefetch=1, idle_timeout=0.4):
        with msg as number:
            say("got", number, msg.attempt)
            await asyncio.sleep(0.4)
    say("end")
    await queue.aclose()

asyncio.run(main())
"""


def _frozen(act: Act, script: str) -> Actor:
    actor = act(script)
    actor.expect("got 1 1")
    actor.freeze()
    return actor


def _take_over(queue: Queue[int]) -> Callable[[], None]:
    """Another consumer gets the message; what is returned lets it finish."""
    message = queue.receive(timeout=10)
    assert message is not None
    assert (message.payload, message.attempt) == (1, 2)

    def finish() -> None:
        message.ack()
        message.settle()

    return finish


@pytest.mark.parametrize("script", [SETTLE, ASETTLE], ids=["sync", "async"])
@pytest.mark.parametrize(
    "order",
    ["held by the other", pytest.param("done by the other", marks=pytest.mark.slow)],
)
def test_f16_settle_after_the_lease_raises_lease_lost(
    act: Act, redis_url: str, queue_name: str, script: str, order: str
) -> None:
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish(1)
        actor = _frozen(act, script)
        finish = _take_over(queue)
        if order == "done by the other":
            finish()
        actor.thaw()
        # The keeper may have found out before the verdict: both are right.
        assert actor.line() in ("lost True", "lost False")
        actor.expect("LeaseLost", "next None")
        actor.ends_well()
        if order == "held by the other":
            finish()
        stats = queue.stats()
        assert (stats.completed, stats.failed, stats.in_flight, stats.ready) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    "script",
    [pytest.param(LOOP, id="sync"), pytest.param(ALOOP, id="async", marks=pytest.mark.slow)],
)
def test_f16_in_a_loop_the_late_verdict_is_an_event_and_the_loop_goes_on(
    act: Act, redis_url: str, queue_name: str, script: str
) -> None:
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        receipt = queue.publish(1)
        actor = _frozen(act, script)
        finish = _take_over(queue)
        queue.publish(2)
        actor.thaw()
        lines = actor.rest()
        actor.ends_well()
        finish()
        assert lines[-1] == "end"
        assert f"stale {receipt.id}" in lines
        assert "got 2 1" in lines
        stats = queue.stats()
        assert (stats.completed, stats.in_flight, stats.ready) == (2, 0, 0)


@pytest.mark.parametrize("script", [SETTLE, ASETTLE], ids=["sync", "async"])
def test_f16_if_nobody_took_it_over_the_ack_counts(
    act: Act, redis_url: str, queue_name: str, script: str
) -> None:
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish(1)
        actor = _frozen(act, script)
        time.sleep(LEASE * 1.5)
        actor.thaw()
        assert actor.line() in ("lost True", "lost False")
        actor.expect("settled", "next None")
        actor.ends_well()
        stats = queue.stats()
        assert (stats.completed, stats.failed, stats.stale, stats.in_flight) == (1, 0, 0, 0)
        assert queue.receive(timeout=0) is None


def test_f16_the_message_says_that_its_lease_is_lost(
    act: Act, redis_url: str, queue_name: str
) -> None:
    with Queue[int](queue_name, redis_url, lease=LEASE) as queue:
        queue.publish(1)
        actor = act(
            f"""
            queue = Queue[int](NAME, URL, lease={LEASE})
            for msg in queue.consume(idle_timeout=0.1):
                assert not msg.lease_lost
                say("got", msg.payload, msg.attempt)
                end = time.monotonic() + 20
                while not msg.lease_lost and time.monotonic() < end:
                    time.sleep(0.01)
                say("lost", msg.lease_lost)
            """
        )
        actor.expect("got 1 1")
        actor.freeze()
        finish = _take_over(queue)
        actor.thaw()
        actor.expect("lost True")
        actor.ends_well()
        finish()
        eventually(lambda: queue.stats().completed == 1)
