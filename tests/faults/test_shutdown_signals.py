"""SIGINT and SIGTERM: the message in hand is finished, the rest goes back, the process ends."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults.actors import eventually
from tests.faults.conftest import Act
from typed_rmq import Queue

pytestmark = pytest.mark.servers("valkey")

WORKERS = """
seconds = float(sys.argv[4])
queue = Queue[int](NAME, URL)

def handle(number: int) -> None:
    say("got", number)
    time.sleep(seconds)
    say("done", number)

async def ahandle(number: int) -> None:
    say("got", number)
    await asyncio.sleep(seconds)
    say("done", number)

async def aloop():
    say("ready")
    async for msg in queue.consume(prefetch=3):
        await ahandle(msg.payload)
    say("after")
    await queue.aclose()

async def awith():
    say("ready")
    async for msg in queue.consume(prefetch=3):
        with msg as number:
            await ahandle(number)
    say("after")
    await queue.aclose()

async def arun():
    say("ready")
    await queue.arun(ahandle, prefetch=3)
    say("after")
    await queue.aclose()

async def arun_threads():
    say("ready")
    await queue.arun(handle, prefetch=3)
    say("after")
    await queue.aclose()

match sys.argv[3]:
    case "for":
        say("ready")
        for msg in queue.consume(prefetch=3):
            handle(msg.payload)
        say("after")
    case "with":
        say("ready")
        for msg in queue.consume(prefetch=3):
            with msg as number:
                handle(number)
        say("after")
    case "run":
        say("ready")
        queue.run(handle, prefetch=3)
        say("after")
    case "run in threads":
        say("ready")
        queue.run(handle, prefetch=3, concurrency=2)
        say("after")
    case "async for":
        asyncio.run(aloop())
    case "async with":
        asyncio.run(awith())
    case "arun":
        asyncio.run(arun())
    case "arun in threads":
        asyncio.run(arun_threads())
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
say("end")
"""

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("for", signal.SIGTERM),
        ("for", signal.SIGINT),
        ("async for", signal.SIGTERM),
        ("arun", signal.SIGINT),
        pytest.param("run", signal.SIGTERM, marks=SLOW),
        pytest.param("arun", signal.SIGTERM, marks=SLOW),
        pytest.param("arun in threads", signal.SIGTERM, marks=SLOW),
    ],
)
def test_a_signal_ends_the_loop_after_the_message_in_hand(
    act: Act, numbers: Queue[int], mode: str, number: signal.Signals
) -> None:
    numbers.publish_many(range(5))
    actor = act(WORKERS, mode, 0.3)
    actor.expect("ready", "got 0")
    actor.signal(number)
    actor.expect("done 0", "after", "end")
    actor.ends_well()
    stats = numbers.stats()
    assert (stats.completed, stats.ready, stats.in_flight, stats.consumers) == (1, 4, 0, 0)
    assert (stats.failed, stats.stale) == (0, 0)
    # What was fetched ahead has lost no attempt and kept its order.
    assert [(each.payload, each.attempt) for each in numbers.peek()] == [
        (1, 1),
        (2, 1),
        (3, 1),
        (4, 1),
    ]


@pytest.mark.parametrize(
    "mode", ["for", "async for", *(pytest.param(m, marks=SLOW) for m in ("run in threads", "arun"))]
)
def test_a_signal_ends_an_idle_loop_at_once(act: Act, numbers: Queue[int], mode: str) -> None:
    actor = act(WORKERS, mode, 0)
    actor.expect("ready")
    eventually(lambda: numbers.stats().consumers == 1)
    time.sleep(0.05)
    asked = time.monotonic()
    actor.signal(signal.SIGINT)
    actor.expect("after", "end")
    assert time.monotonic() - asked < 2
    actor.ends_well()
    assert numbers.stats().consumers == 0


@pytest.mark.parametrize(
    "mode",
    [
        *("for", "with", "async with"),
        *(pytest.param(m, marks=SLOW) for m in ("run", "async for", "arun")),
    ],
)
def test_a_second_interrupt_is_immediate_and_releases_the_message(
    act: Act, numbers: Queue[int], mode: str
) -> None:
    numbers.publish_many(range(3))
    actor = act(WORKERS, mode, 60)
    actor.expect("ready", "got 0")
    actor.signal(signal.SIGINT)
    time.sleep(0.2)  # its handler has run by then
    asked = time.monotonic()
    actor.signal(signal.SIGINT)
    assert actor.wait() == -signal.SIGINT
    assert time.monotonic() - asked < 3
    assert "KeyboardInterrupt" in actor.errors
    stats = numbers.stats()
    assert (stats.ready, stats.in_flight, stats.completed, stats.failed) == (3, 0, 0, 0)
    assert [(each.payload, each.attempt) for each in numbers.peek()] == [(0, 1), (1, 1), (2, 1)]


def test_a_second_terminate_ends_the_process_as_it_would_without_us(
    act: Act, numbers: Queue[int]
) -> None:
    numbers.publish(0)
    actor = act(WORKERS, "for", 60)
    actor.expect("ready", "got 0")
    actor.signal(signal.SIGTERM)
    time.sleep(0.1)
    assert actor.process.poll() is None
    actor.signal(signal.SIGTERM)
    assert actor.wait() == -signal.SIGTERM


def test_an_applications_own_handler_is_left_alone_and_calls_stop(
    act: Act, numbers: Queue[int]
) -> None:
    numbers.publish_many(range(3))
    actor = act(
        """
        queue = Queue[int](NAME, URL)
        consumer = queue.consume(prefetch=3)

        def mine(number, frame):
            say("mine")
            consumer.stop()

        signal.signal(signal.SIGTERM, mine)
        for msg in consumer:
            say("got", msg.payload)
            assert signal.getsignal(signal.SIGTERM) is mine
            time.sleep(0.5)
            say("done", msg.payload)
        say("end")
        """
    )
    actor.expect("got 0")
    actor.signal(signal.SIGTERM)
    actor.expect("mine", "done 0", "end")
    actor.ends_well()
    stats = numbers.stats()
    assert (stats.completed, stats.ready, stats.in_flight) == (1, 2, 0)


def test_stop_on_signals_false_leaves_the_interrupt_to_python(
    act: Act, numbers: Queue[int]
) -> None:
    numbers.publish(0)
    actor = act(
        """
        queue = Queue[int](NAME, URL)
        for msg in queue.consume(stop_on_signals=False):
            with msg as number:
                say("got", number)
                time.sleep(60)
        """
    )
    actor.expect("got 0")
    actor.signal(signal.SIGINT)
    assert actor.wait() == -signal.SIGINT
    stats = numbers.stats()
    assert (stats.ready, stats.failed, stats.in_flight, stats.released) == (1, 0, 0, 1)
