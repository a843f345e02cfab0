"""F22: a process that ends right after its loop was left. The verdict still reaches Redis."""

from __future__ import annotations

import signal
import textwrap
import time

import pytest

from tests.conftest import MakeServer
from tests.faults.actors import eventually
from tests.faults.conftest import Act
from tests.faults.proxy import Proxy
from typed_rmq import Queue, Retry

pytestmark = pytest.mark.servers("valkey")

DONE = {
    "break": """
        for msg in Queue[int](NAME, URL):
            break
    """,
    "break and sys.exit": """
        for msg in Queue[int](NAME, URL):
            break
        sys.exit(0)
    """,
    "return": """
        def main():
            for msg in Queue[int](NAME, URL):
                return
        main()
    """,
    "break with a long linger": """
        for msg in Queue[int](NAME, URL).consume(ack_linger=60):
            break
    """,
    "verdict in hand and sys.exit": """
        queue = Queue[int](NAME, URL)
        msg = queue.receive(timeout=5)
        msg.ack()
        sys.exit(0)
    """,
    "break in a thread": """
        def main():
            for msg in Queue[int](NAME, URL):
                break
        thread = threading.Thread(target=main)
        thread.start()
        thread.join()
    """,
    "asyncio.run returns after break": """
        async def main():
            queue = Queue[int](NAME, URL)
            async for msg in queue:
                break
        asyncio.run(main())
    """,
    "asyncio.run returns after return": """
        async def main():
            async for msg in Queue[int](NAME, URL):
                return
        asyncio.run(main())
    """,
    "asyncio.run, break, sys.exit inside": """
        async def main():
            async for msg in Queue[int](NAME, URL):
                break
            sys.exit(0)
        asyncio.run(main())
    """,
    "asyncio.run, break, aclose": """
        async def main():
            async with Queue[int](NAME, URL) as queue:
                async for msg in queue:
                    break
        asyncio.run(main())
    """,
    "asyncio.run, areceive, ack, end": """
        async def main():
            queue = Queue[int](NAME, URL)
            msg = await queue.areceive(timeout=5)
            msg.ack()
            await queue.aclose()
        asyncio.run(main())
    """,
    "break in a task that ends": """
        async def work():
            async for msg in Queue[int](NAME, URL):
                break
        async def main():
            await asyncio.create_task(work())
        asyncio.run(main())
    """,
}

RARE = {
    "return",
    "break with a long linger",
    "asyncio.run returns after return",
    "asyncio.run, break, aclose",
    "asyncio.run, areceive, ack, end",
    "break in a task that ends",
    "sys.exit in the body",
    "a received message that is still in hand",
    "an exception ends asyncio.run",
}

# What redis-py's asyncio connections warn of where nobody closed the queue is no fault of ours.
QUIET = 'import warnings; warnings.simplefilter("ignore", ResourceWarning)\n'


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.slow] * (way in RARE)) for way in DONE]
)
def test_f22_an_exit_right_after_a_break_still_acks(
    act: Act, numbers: Queue[int], way: str
) -> None:
    numbers.publish_many(range(3))
    actor = act(QUIET + textwrap.dedent(DONE[way]))
    assert actor.wait() == 0, actor.errors
    assert "Traceback" not in actor.errors, actor.errors
    stats = numbers.stats()
    assert (stats.completed, stats.ready, stats.failed, stats.in_flight, stats.consumers) == (
        1,
        2,
        0,
        0,
        0,
    )


NOT_DONE = {
    "an exception ends the process": """
        for msg in Queue[int](NAME, URL, lease=0.5):
            raise ValueError
    """,
    "sys.exit in the body": """
        for msg in Queue[int](NAME, URL, lease=0.5):
            sys.exit(1)
    """,
    "an iterator that is still alive": """
        iterator = iter(Queue[int](NAME, URL, lease=0.5))
        msg = next(iterator)
        raise ValueError
    """,
    "a received message that is still in hand": """
        queue = Queue[int](NAME, URL, lease=0.5)
        msg = queue.receive(timeout=5)
        raise ValueError
    """,
    "an exception ends asyncio.run": """
        async def main():
            async for msg in Queue[int](NAME, URL, lease=0.5):
                raise ValueError
        asyncio.run(main())
    """,
    "an async iterator that is still alive": """
        kept = []
        async def main():
            kept.append(aiter(Queue[int](NAME, URL, lease=0.5)))
            msg = await anext(kept[0])
            raise ValueError
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.slow] * (way in RARE)) for way in NOT_DONE]
)
def test_f22_an_exit_with_a_message_in_hand_is_never_done(
    act: Act, redis_url: str, queue_name: str, way: str
) -> None:
    with Queue[int](queue_name, redis_url, lease=0.5, retry=Retry(backoff=0)) as queue:
        queue.publish(7)
        actor = act(QUIET + textwrap.dedent(NOT_DONE[way]))
        assert actor.wait() == 1
        assert "Exception ignored" not in actor.errors, actor.errors
        assert queue.stats().completed == 0
        message = queue.receive(timeout=5)
        assert message is not None
        assert (message.payload, message.attempt) == (7, 2)
        message.ack()
        message.settle()
        eventually(lambda: queue.stats().consumers == 1)


SLOW = {
    "sync": """
        for msg in Queue[int](NAME, URL):
            break
    """,
    "async": """
        async def main():
            async for msg in Queue[int](NAME, URL):
                break
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("mode", SLOW)
def test_f22_an_exit_right_after_a_break_still_acks_over_a_slow_network(
    act: Act, numbers: Queue[int], proxy: Proxy, mode: str
) -> None:
    numbers.publish(1)
    proxy.slow = 0.15
    actor = act(QUIET + textwrap.dedent(SLOW[mode]), url=proxy.url)
    assert actor.wait() == 0, actor.errors
    stats = numbers.stats()
    assert (stats.completed, stats.in_flight, stats.consumers) == (1, 0, 0)


@pytest.mark.slow
def test_f22_an_exit_while_redis_is_gone_does_not_hang(act: Act, make_server: MakeServer) -> None:
    server = make_server("valkey", tcp=True)
    with Queue[int]("q", server.url) as queue:
        queue.publish(1)
        actor = act(
            """
            for msg in Queue[int]("q", URL):
                say("got")
                time.sleep(0.5)
                break
            """,
            url=server.url,
        )
        actor.expect("got")
        server.signal(signal.SIGSTOP)
        started = time.monotonic()
        try:
            assert actor.wait(12) == 0
        finally:
            server.signal(signal.SIGCONT)
        assert time.monotonic() - started < 8
        assert "could not say goodbye" in actor.errors
