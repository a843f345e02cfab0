"""F3, F20, F21 for publishes that leave together: lost replies, hanging calls, cancellations."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.cancellation.test_every_await import Sweep, contents
from tests.faults.proxy import Proxy
from typed_rmq import Queue, Receipt
from typed_rmq.scripts import ENQUEUE

pytestmark = pytest.mark.servers("valkey")

RunAsync = Callable[[Coroutine[Any, Any, object]], object]
N = 30


def _publish_all(queue: Queue[int], mode: str, run_async: RunAsync) -> list[Receipt]:
    receipts: dict[int, Receipt] = {}

    def publish(number: int) -> None:
        receipts[number] = queue.publish(number)

    async def apublish_all() -> None:
        try:
            found = await asyncio.gather(*(queue.apublish(number) for number in range(N)))
            receipts.update(enumerate(found))
        finally:
            await queue.aclose()

    if mode == "sync":
        threads = [threading.Thread(target=publish, args=(number,)) for number in range(N)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    else:
        run_async(apublish_all())
    return [receipts[number] for number in range(N)]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_f3_a_lost_reply_of_many_stores_each_once(
    proxy: Proxy, redis_url: str, queue_name: str, run_async: RunAsync, mode: str
) -> None:
    with Queue[int](queue_name, redis_url) as look, Queue[int](queue_name, proxy.url) as queue:
        look.publish(-1)  # the script is known
        look.purge()
        proxy.lose_reply(ENQUEUE.sha, 3)
        proxy.lose_request(ENQUEUE.sha, 2)
        proxy.slow = 0.02  # so that others come while a call is under way
        receipts = _publish_all(queue, mode, run_async)
        assert {each.payload: each.id for each in look.peek(1000)} == {
            number: receipt.id for number, receipt in enumerate(receipts)
        }
        # What was done and not answered is no duplicate of itself.
        assert not any(receipt.duplicate for receipt in receipts)
        assert proxy.lost == 5
        assert proxy.count(ENQUEUE.sha) < N


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_f3_a_call_that_hangs_holds_the_others_up_for_a_moment_only(
    proxy: Proxy, redis_url: str, queue_name: str, run_async: RunAsync, mode: str
) -> None:
    with (
        Queue[int](queue_name, redis_url, dedup=None) as look,
        Queue[int](queue_name, proxy.url, dedup=None) as queue,
    ):
        look.publish(-1)
        look.purge()
        proxy.hold_reply(ENQUEUE.sha, 1)  # until the client's own timeout of 5 s
        done_at: list[int] = []
        observer = threading.Thread(
            target=lambda: done_at.append(_soon(lambda: look.stats().ready >= N))
        )
        observer.start()
        receipts = _publish_all(queue, mode, run_async)
        observer.join(30)
        assert done_at == [True], "the others waited for the call that hung"
        found = [(each.payload, each.id) for each in look.peek(1000)]
        assert sorted(found) == [(number, receipt.id) for number, receipt in enumerate(receipts)]


def _soon(condition: Callable[[], bool]) -> bool:
    """Within 4 seconds, which is before the call that hangs is given up."""
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_f20_one_of_many_cancelled_at_any_await(
    redis_url: str, queue_name: str, run_async: RunAsync
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, redis_url, dedup=None) as queue:
            sweep, number = Sweep(), 0
            for cancel in sweep:
                others = [asyncio.create_task(queue.apublish(number + n)) for n in range(5)]
                await asyncio.sleep(0)
                await cancel(queue.apublish(number + 5))
                others += [asyncio.create_task(queue.apublish(number + 6))]
                receipts = await asyncio.gather(*others)
                ids = {each.payload: each.id for each in await queue.apeek(1000)}
                for payload, receipt in zip((0, 1, 2, 3, 4, 6), receipts, strict=True):
                    assert ids[number + payload] == receipt.id
                number += 7
            assert sweep.cancelled >= 2
            assert set((await contents(queue)).values()) == {1}

    run_async(main())


def test_f21_a_leader_that_is_interrupted_leaves_the_others_their_messages(
    proxy: Proxy, redis_url: str, queue_name: str
) -> None:
    """The main thread leads a call for others when it gets a KeyboardInterrupt."""
    with (
        Queue[int](queue_name, redis_url, dedup=None) as look,
        Queue[int](queue_name, proxy.url, dedup=None) as queue,
    ):
        look.publish(-1)
        look.purge()
        receipts: dict[int, Receipt] = {}

        def publish(number: int) -> None:
            receipts[number] = queue.publish(number)

        def loop(number: int) -> None:
            while not interrupted.is_set():
                publish(number)
                number += 1

        interrupted = threading.Event()
        proxy.slow = 0.05
        threads = [threading.Thread(target=loop, args=(1000 * n,)) for n in range(1, 6)]
        for thread in threads:
            thread.start()
        previous = signal.signal(signal.SIGALRM, _interrupt)
        caught = 0
        try:
            for number in range(12):
                signal.setitimer(signal.ITIMER_REAL, 0.03 + 0.013 * number)
                try:
                    publish(number)
                    time.sleep(0.3)
                except KeyboardInterrupt:
                    caught += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
            interrupted.set()
            for thread in threads:
                thread.join(30)
        assert caught == 12
        proxy.slow = 0
        found = [(each.payload, each.id) for each in look.peek(1000)]
        assert len(dict(found)) == len(found), "stored twice"
        for number, receipt in receipts.items():
            assert (number, receipt.id) in found
        queue.publish(-2)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
