"""F41: a user with the rights of the docs; a missing one is named, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.servers import RunningServer
from tests.where_it_runs.conftest import documented_rule
from typed_rmq import Queue, QueueUnavailable, Retry

RunAsync = Callable[[Coroutine[Any, Any, object]], object]


@pytest.fixture
def as_shop(server: RunningServer) -> Iterator[Callable[..., str]]:
    """``as_shop(without="zadd")`` sets the user's rights, and gives its address."""

    def grant(*, without: str = "") -> str:
        rule = [right for right in documented_rule("RULE") if right != f"+{without}"]
        server.command("ACL", "SETUSER", "shop", "reset", "on", ">secret", *rule)
        return server.url.replace("redis://", "redis://shop:secret@")

    yield grant
    server.command("ACL", "DELUSER", "shop")


def use_everything(queue: Queue[int]) -> None:
    """All that a queue can do, each with what its scripts do only now and then."""
    queue.publish(0)
    queue.publish(0)
    queue.publish_many([1, 2, 3], delay=0.001)
    queue.publish_many(range(10, 20), priority="high")
    done = 0
    for msg in queue.consume(until_empty=True, prefetch=3):
        if msg.payload == 10:
            msg.reject("no")
        elif msg.payload == 11:
            msg.release() if msg.attempt == 1 and not done else msg.ack()
            done += 1
        elif msg.payload == 12:
            msg.retry(delay=0) if msg.attempt == 1 else msg.ack()
    list(queue.dead)
    queue.dead.redrive()
    while (held := queue.receive(timeout=0)) is not None:
        held.reject("again")
        held.settle()
    assert queue.receive(timeout=0.01) is None
    for state in ("ready", "delayed", "in_flight", "dead", "done"):
        queue.peek(state=state)  # type: ignore[arg-type]  # from a tuple of names
    queue.pause()
    queue.resume()
    queue.stats()
    queue.publish(99)
    queue.purge()
    queue.dead.purge()


def open_queue(name: str, url: str) -> Queue[int]:
    return Queue[int](name, url, retry=Retry(backoff=0), keep_done=5, keep_dead=9, lease=1)


def test_f41_the_rule_of_the_docs_is_enough(as_shop: Callable[..., str], queue_name: str) -> None:
    with open_queue(queue_name, as_shop()) as queue:
        use_everything(queue)


def test_f41_what_is_faster_with_a_right_is_not_tried_without(
    as_shop: Callable[..., str], server: RunningServer, queue_name: str
) -> None:
    server.command("ACL", "LOG", "RESET")
    with open_queue(queue_name, as_shop()) as queue:
        assert not any(receipt.duplicate for receipt in queue.publish_many(range(20)))
        assert all(receipt.duplicate for receipt in queue.publish_many(range(20)))
    assert "msetex" not in repr(server.command("ACL", "LOG"))


@pytest.mark.parametrize("missing", ["evalsha", "blpop", "xadd", "zadd", "hset"])
def test_f41_a_missing_right_is_named(
    as_shop: Callable[..., str],
    server: RunningServer,
    queue_name: str,
    missing: str,
    run_async: RunAsync,
) -> None:
    url = as_shop(without=missing)
    with open_queue(queue_name, server.url) as queue:
        queue.publish_many(range(3))

        def use() -> None:
            with open_queue(queue_name, url) as mine:
                mine.publish(7)
                for msg in mine.consume(idle_timeout=1, prefetch=1):
                    msg.reject("no")

        async def ause() -> None:
            async with open_queue(queue_name, url) as mine:
                await mine.apublish(7)
                async for msg in mine.consume(idle_timeout=1, prefetch=1):
                    msg.reject("no")

        for call in (use, lambda: run_async(ause())):
            with pytest.raises(QueueUnavailable) as caught:
                call()
            said = str(caught.value)
            assert "docs/operations" in said
            assert missing in said.lower(), said
            assert "secret" not in said
        as_shop()
        # Nothing was lost or doubled by having been refused in the middle; what the
        # refused ones held comes back with the end of their lease.
        queue.publish(7)
        queue.dead.redrive()
        seen = [msg.payload for msg in queue.consume(max_messages=4, idle_timeout=10)]
        assert sorted(seen) == [0, 1, 2, 7]
        stats = queue.stats()
        assert (stats.ready, stats.in_flight, stats.delayed) == (0, 0, 0)
