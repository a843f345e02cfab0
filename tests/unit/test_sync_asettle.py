"""A message of a sync session in a coroutine's hands."""

from __future__ import annotations

import asyncio

import pytest

from typed_rmq import LeaseLost, Queue


def test_a_received_message_can_be_settled_by_await(redis_url: str, queue_name: str) -> None:
    async def settle(queue: Queue[int]) -> None:
        message = await asyncio.to_thread(queue.receive)
        assert message is not None
        message.ack()
        await message.asettle()
        assert queue.stats().completed == 1

    with Queue[int](queue_name, redis_url) as queue:
        queue.publish(1)
        asyncio.run(settle(queue))


def test_asettle_says_that_the_lease_was_lost(
    redis_url: str, queue_name: str, client: object
) -> None:
    with Queue[int](queue_name, redis_url) as queue:
        queue.publish(1)
        message = queue.receive()
        assert message is not None
        prefix = f"trmq:{{{queue_name}}}:"
        for key in client.keys(f"{prefix}inflight:*"):  # type: ignore[attr-defined]  # a Redis
            client.delete(key)  # type: ignore[attr-defined]  # a Redis
        message.ack()
        with pytest.raises(LeaseLost):
            asyncio.run(message.asettle())
