"""F3 for `publish_many`, which packs a batch while the one before is under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.faults.proxy import Proxy
from typed_rmq import PayloadError, Queue
from typed_rmq.scripts import ENQUEUE

RunAsync = Callable[[Coroutine[Any, Any, object]], object]


def disturb(proxy: Proxy, what: str) -> None:
    if what == "request":
        proxy.lose_request(ENQUEUE.sha)
    else:
        proxy.lose_reply(ENQUEUE.sha)


@pytest.mark.parametrize("what", ["request", "reply"])
def test_f3_batches_on_a_broken_connection_are_stored_once(
    proxy: Proxy, queue_name: str, what: str
) -> None:
    with Queue[int](queue_name, proxy.url, dedup=None) as queue:

        def numbers() -> Iterator[int]:
            for number in range(50):
                if number in (15, 35):  # while the batch before is under way
                    disturb(proxy, what)
                yield number

        receipts = queue.publish_many(numbers(), batch=10)
        assert len({receipt.id for receipt in receipts}) == 50
        assert queue.stats().published == 50
        seen = [msg.payload for msg in queue.consume(until_empty=True)]
        assert seen == list(range(50))


@pytest.mark.parametrize("what", ["request", "reply"])
def test_f3_async_batches_on_a_broken_connection_are_stored_once(
    proxy: Proxy, queue_name: str, run_async: RunAsync, what: str
) -> None:
    async def main() -> None:
        async with Queue[int](queue_name, proxy.url, dedup=None) as queue:

            def numbers() -> Iterator[int]:
                for number in range(50):
                    if number in (15, 35):
                        disturb(proxy, what)
                    yield number

            receipts = await queue.apublish_many(numbers(), batch=10)
            assert len({receipt.id for receipt in receipts}) == 50
            assert (await queue.astats()).published == 50
            seen = [msg.payload async for msg in queue.consume(until_empty=True)]
            assert Counter(seen) == Counter(range(50))

    run_async(main())


def test_an_invalid_item_raises_after_the_batch_before_was_stored(
    redis_url: str, queue_name: str
) -> None:
    with Queue[int](queue_name, redis_url, dedup=None) as queue:
        items: list[object] = [*range(25), "no number", *range(25, 40)]
        with pytest.raises(PayloadError) as caught:
            queue.publish_many(items, batch=10)  # type: ignore[arg-type]  # wrong on purpose
        assert caught.value.index == 25
        assert [peeked.payload for peeked in queue.peek(100)] == list(range(20))
        # The lane that was left in the middle is as good as new.
        assert len(queue.publish_many(range(100, 130), batch=10)) == 30
        assert queue.stats().published == 50


def test_an_iterable_that_raises_leaves_what_was_stored(redis_url: str, queue_name: str) -> None:
    def broken() -> Iterator[int]:
        yield from range(15)
        raise OSError("the file ended")

    with Queue[int](queue_name, redis_url, dedup=None) as queue:
        with pytest.raises(OSError, match="the file ended"):
            queue.publish_many(broken(), batch=10)
        assert queue.stats().published == 10
