"""F24: fork after use. The child starts clean; what the parent holds stays the parent's."""

from __future__ import annotations

import textwrap

import pytest

from tests.faults.conftest import Act
from typed_rmq import Queue

pytestmark = pytest.mark.servers("valkey")

PRELUDE = """
import warnings
# Python 3.12 warns of a fork beside threads; that it works all the same is what is tested.
warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", ResourceWarning)

def child(work, leave=sys.exit):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(20)
            work()
            code = 0
        finally:
            leave(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

# To fork three times may take a busy machine more than the second after which a batch that is
# stuck behind a slow message is released to others: no release here is any but the child's.
import typed_rmq.core
typed_rmq.core.HAND_BACK = 60.0

queue = Queue[int](NAME, URL, lease=1.0, dedup=None)
"""

SCRIPTS = {
    # exits by sys.exit: its atexit functions run, and must not close the parent's session
    "publish and receive in the child": """
        queue.publish(1)
        msg = queue.receive(timeout=5)
        def work():
            queue.publish(2)
            mine = queue.receive(timeout=5)
            assert mine.payload == 2, mine
            mine.ack()
            mine.settle()
        child(work)
        assert queue.stats().in_flight == 1
        assert msg.held
        queue.publish(3)
        msg.ack()
        msg.settle()
        last = queue.receive(timeout=5)
        assert last.payload == 3
        last.ack()
        queue.close()
    """,
    "fork inside of a loop": """
        queue.publish_many([1, 2, 3])
        seen = []
        for msg in queue.consume(prefetch=3, until_empty=True):
            with msg as number:
                if number == 1:
                    child(lambda: None)
                    child(lambda: queue.stats())
                    child(lambda: None, os._exit)
                seen.append(number)
        assert seen == [1, 2, 3]
        queue.close()
    """,
    "the child leaves the parent's loop": """
        queue.publish_many([1, 2, 3])
        seen = []
        for msg in queue.consume(prefetch=3, until_empty=True):
            if msg.payload == 2:
                pid = os.fork()
                if pid == 0:
                    break
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            seen.append(msg.payload)
        else:
            assert seen == [1, 2, 3]
        queue.close()
    """,
    "the child's verdicts on the parent's message have no effect": """
        queue.publish_many([1, 2, 3])
        msg = queue.receive(timeout=5)
        def work():
            for verdict in (msg.ack, msg.retry, msg.release, lambda: msg.reject("no")):
                try:
                    verdict()
                except TypedRMQError:
                    pass
                else:
                    raise AssertionError("a verdict from another process")
            assert not msg.held
        child(work)
        assert queue.stats().in_flight == 1
        msg.ack()
        msg.settle()
        for msg in queue.consume(until_empty=True):
            pass
        queue.close()
    """,
    "the child consumes, while the parent's keeper and wait go on": """
        queue.publish(1)
        msg = queue.receive(timeout=5)
        def work():
            queue.publish_many([2, 3])
            assert [m.payload for m in queue.consume(until_empty=True)] == [2, 3]
            time.sleep(1.3)  # longer than the lease: the parent's renewals must go on
        child(work)
        msg.ack()
        msg.settle()
        queue.close()
    """,
    "multiprocessing": """
        import multiprocessing
        fork = multiprocessing.get_context("fork")

        def work(number):
            queue.publish(number)

        queue.publish(1)
        msg = queue.receive(timeout=5)
        processes = [fork.Process(target=work, args=(n,)) for n in (2, 3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(20)
            assert process.exitcode == 0
        with msg:
            pass
        assert sorted(m.payload for m in queue.consume(until_empty=True)) == [2, 3]
        queue.close()
    """,
    "after asyncio": """
        async def first():
            await queue.apublish(1)
            msg = await queue.areceive(timeout=5)
            msg.ack()
            await msg.asettle()
            await queue.aclose()
        asyncio.run(first())

        async def second():
            await queue.apublish(2)
            async for msg in queue.consume(until_empty=True):
                assert msg.payload == 2
            await queue.aclose()
        child(lambda: asyncio.run(second()))

        async def third():
            await queue.apublish(3)
            async for msg in queue.consume(until_empty=True):
                assert msg.payload == 3
            await queue.aclose()
        asyncio.run(third())
    """,
    "fork in a coroutine": """
        async def main():
            await queue.apublish_many([1, 2, 3])
            seen = []
            async for msg in queue.consume(prefetch=3, until_empty=True):
                if msg.payload == 1:
                    pid = os.fork()
                    if pid == 0:
                        os._exit(0)
                    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                await asyncio.sleep(0.01)
                seen.append(msg.payload)
            assert seen == [1, 2, 3]
            await queue.aclose()
        asyncio.run(main())
    """,
}

RARE = {"the child leaves the parent's loop", "after asyncio"}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.slow] * (way in RARE)) for way in SCRIPTS]
)
def test_f24_a_child_starts_clean_and_leaves_the_parent_alone(
    act: Act, numbers: Queue[int], way: str
) -> None:
    actor = act(PRELUDE + textwrap.dedent(SCRIPTS[way]))
    assert actor.wait(30) == 0, actor.errors[-3000:]
    assert "Traceback" not in actor.errors, actor.errors[-3000:]
    stats = numbers.stats()
    assert (stats.published, stats.completed) == (3, 3)
    assert (stats.failed, stats.released, stats.stale) == (0, 0, 0)
    assert (stats.in_flight, stats.ready, stats.delayed, stats.consumers) == (0, 0, 0, 0)


def test_f24_a_users_own_client_survives_too(act: Act, numbers: Queue[int]) -> None:
    actor = act(
        PRELUDE
        + """
import redis
client = redis.Redis.from_url(URL)
queue = Queue[int](NAME, client, dedup=None)
queue.publish(1)
msg = queue.receive(timeout=5)
def work():
    queue.publish(2)
    mine = queue.receive(timeout=5)
    mine.ack()
    mine.settle()
child(work)
queue.publish(3)
msg.ack()
msg.settle()
for msg in queue.consume(until_empty=True):
    pass
queue.close()
client.close()
"""
    )
    assert actor.wait(30) == 0, actor.errors[-3000:]
    stats = numbers.stats()
    assert (stats.published, stats.completed, stats.stale, stats.consumers) == (3, 3, 0, 0)


def test_f24_a_child_that_closes_its_queue_leaves_the_parents_async_session_alone(
    act: Act, numbers: Queue[int]
) -> None:
    actor = act(
        PRELUDE
        + """
async def work():
    async with queue:
        await queue.apublish(3)

async def main():
    await queue.apublish_many([1, 2])
    async with queue:
        msg = await queue.areceive(timeout=5)
        msg.ack()
        await msg.asettle()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                asyncio.run(work())
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert (await queue.astats()).consumers == 1
        async with asyncio.timeout(3):
            for _ in range(2):
                msg = await queue.areceive(timeout=5)
                msg.ack()
                await msg.asettle()

asyncio.run(main())
"""
    )
    assert actor.wait(30) == 0, actor.errors[-3000:]
    stats = numbers.stats()
    assert (stats.published, stats.completed, stats.stale, stats.consumers) == (3, 3, 0, 0)
