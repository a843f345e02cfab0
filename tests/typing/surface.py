"""What type checkers must say of every public name. Only checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar, assert_type

import redis
import redis.asyncio
from redis.sentinel import Sentinel

from tests.typing.models import Created, Deleted, Order, Point, Row
from typed_rmq import (
    AlreadySettled,
    Compressed,
    ConfigError,
    Connection,
    Consumer,
    ConsumerInfo,
    DataLossDetected,
    DeadLetter,
    Dedup,
    Encrypted,
    Json,
    LeaseLost,
    Message,
    MsgPack,
    Observer,
    PayloadError,
    Peeked,
    Queue,
    QueueCorrupt,
    QueueFull,
    QueueStats,
    QueueUnavailable,
    Receipt,
    Retry,
    ServerUnsupported,
    TypedRMQError,
    aqueues,
    queues,
)
from typed_rmq.asyncapi import asyncapi
from typed_rmq.dashboard import Discovery, create_app, serve
from typed_rmq.settings import QueueSettings
from typed_rmq.testing import Drained, QueueFactory, adrain, crash, drain, published

order = Order(order_id=1, sku="A")


class Orders(Queue[Order]):
    """A queue by subclassing."""


def makes_queues() -> None:
    assert_type(Queue[Order]("orders"), Queue[Order])
    assert_type(Queue[Created | Deleted]("events"), Queue[Created | Deleted])
    assert_type(Queue[Point]("points"), Queue[Point])
    assert_type(Queue[Row]("rows"), Queue[Row])
    assert_type(Queue[int]("numbers"), Queue[int])
    assert_type(Queue[list[Order] | None]("batches"), Queue[list[Order] | None])
    assert_type(Orders("orders"), Orders)
    assert_type(Orders("orders").name, str)
    for msg in Orders("orders"):
        assert_type(msg, Message[Order])


def takes_every_connection(url: str) -> None:
    Queue[int]("q", url)
    Queue[int]("q", redis=url)
    Queue[int]("q", redis.Redis.from_url(url))
    Queue[int]("q", redis.asyncio.Redis.from_url(url))
    Queue[int]("q", redis.RedisCluster.from_url(url))
    Queue[int]("q", redis.asyncio.RedisCluster.from_url(url))
    Queue[int]("q", Sentinel([("localhost", 26379)]).master_for("main"))
    Queue[int]("q", redis.asyncio.Sentinel([("localhost", 26379)]).master_for("main"))
    with Connection(url, retry_budget=10.0) as connection:
        assert_type(connection, Connection)
        Queue[int]("q", connection)
        Queue[str]("r", redis=connection)
    Connection(redis.Redis.from_url(url)).close()
    assert_type(queues(), list[str])
    assert_type(queues(redis.RedisCluster.from_url(url)), list[str])


async def connections_are_async_too(url: str) -> None:
    assert_type(await aqueues(url), list[str])
    async with Connection(url) as connection:
        assert_type(connection, Connection)
    await connection.aclose()


def takes_every_option(key: bytes, observer: Observer) -> None:
    Queue[Order](
        "orders",
        serializer=Json(),
        dedup=Dedup(fields=("order_id",), window=timedelta(hours=2)),
        retry=Retry(max_attempts=3, backoff=0.5, factor=2.0, max_backoff=60.0, jitter="full"),
        lease=timedelta(seconds=30),
        max_length=1000,
        overflow="raise",
        keep_done=100,
        keep_dead=1000,
        observers=(observer,),
    )
    Queue[Order]("orders", dedup=None, lease=30, overflow="block", observers=[observer])
    Queue[Order]("orders", dedup=Dedup(until="done"), overflow="drop_oldest")
    Queue[Order]("orders", dedup=Dedup(hash=lambda data: data[:16]))
    Queue[Order]("orders", dedup=Dedup(key=lambda payload: str(payload)))
    Queue[Order]("orders", serializer=MsgPack())
    Queue[Order]("orders", serializer=Compressed(Json()))
    Queue[Order]("orders", serializer=Encrypted(Compressed(MsgPack()), [key]))
    Queue[Order]("orders", retry=Retry(backoff=timedelta(seconds=1), jitter="none"))


def publishes(queue: Queue[Order], headers: Mapping[str, str]) -> None:
    receipt = queue.publish(order)
    assert_type(receipt, Receipt)
    assert_type(receipt.id, str)
    assert_type(receipt.duplicate, bool)
    assert_type(receipt.conflict, bool)
    queue.publish(order, delay=5)
    queue.publish(order, delay=timedelta(minutes=1), priority="high", headers=headers)
    queue.publish(order, at=datetime.now(UTC), priority="low", dedup_key="k")
    queue.publish(order, at=1_900_000_000.5)
    assert_type(queue.publish_many([order, order]), list[Receipt])
    assert_type(queue.publish_many((o for o in [order]), batch=100, priority="low"), list[Receipt])


async def publishes_async(queue: Queue[Order], source: AsyncIterator[Order]) -> None:
    assert_type(await queue.apublish(order, delay=1.5, headers={"a": "b"}), Receipt)
    assert_type(await queue.apublish_many([order]), list[Receipt])
    assert_type(await queue.apublish_many(source, batch=10), list[Receipt])


def consumes(queue: Queue[Order]) -> None:
    for msg in queue:
        assert_type(msg, Message[Order])
        assert_type(msg.payload, Order)
        with msg as payload:
            assert_type(payload, Order)
    consumer = queue.consume(
        prefetch=10,
        ack_linger=0.01,
        until_empty=True,
        idle_timeout=5.0,
        max_messages=3,
        stop_on_signals=False,
    )
    assert_type(consumer, Consumer[Order])
    assert_type(list(consumer), list[Message[Order]])
    with queue.consume(prefetch="auto", idle_timeout=timedelta(seconds=1)) as entered:
        assert_type(entered, Consumer[Order])
        for msg in entered:
            assert_type(msg, Message[Order])
        entered.stop()
    assert_type(queue.receive(), Message[Order] | None)
    assert_type(queue.receive(timeout=None), Message[Order] | None)
    assert_type(queue.receive(2.5), Message[Order] | None)


async def consumes_async(queue: Queue[Order]) -> None:
    async for msg in queue:
        assert_type(msg, Message[Order])
        with msg as payload:
            assert_type(payload, Order)
    async with queue.consume(until_empty=True) as entered:
        assert_type(entered, Consumer[Order])
        assert_type([msg async for msg in entered], list[Message[Order]])
    assert_type(await queue.areceive(timeout=timedelta(seconds=1)), Message[Order] | None)


def narrows_a_union(queue: Queue[Created | Deleted]) -> None:
    for msg in queue:
        match msg.payload:
            case Created() as made:
                assert_type(made, Created)
            case Deleted() as removed:
                assert_type(removed, Deleted)


def gives_verdicts(msg: Message[Order]) -> None:
    assert_type(msg.id, str)
    assert_type(msg.attempt, int)
    assert_type(msg.published_at, datetime)
    assert_type(msg.headers, dict[str, str])
    assert_type(msg.queue, str)
    assert_type(msg.lease_lost, bool)
    msg.ack()
    msg.retry()
    msg.retry(delay=5)
    msg.retry(timedelta(seconds=5))
    msg.reject("no such customer")
    msg.release()
    msg.extend()
    msg.settle()


async def settles_async(msg: Message[Order]) -> None:
    await msg.asettle()


def takes_payload(payload: Order) -> None: ...
def takes_message(msg: Message[Order]) -> None: ...
def returns_something(payload: Order) -> int:
    return payload.order_id


async def takes_payload_async(payload: Order) -> None: ...
async def takes_message_async(msg: Message[Order]) -> None: ...


def works(queue: Queue[Order]) -> None:
    queue.run(takes_payload)
    queue.run(takes_message, concurrency=8, prefetch=16, until_empty=True)
    queue.run(returns_something, idle_timeout=1.0, max_messages=10, stop_on_signals=False)
    queue.run(lambda payload: print(payload), ack_linger=0.0)
    queue.run(takes_payload, processes=4, concurrency=2)


async def works_async(queue: Queue[Order]) -> None:
    await queue.arun(takes_payload_async, concurrency=100)
    await queue.arun(takes_message_async)
    await queue.arun(takes_payload, idle_timeout=timedelta(seconds=1))


def looks(queue: Queue[Order]) -> None:
    stats = queue.stats()
    assert_type(stats, QueueStats)
    assert_type(stats.ready + stats.delayed + stats.in_flight + stats.dead + stats.done, int)
    assert_type(stats.oldest_age, float)
    assert_type(stats.consumers, int)
    assert_type(stats.paused, bool)
    assert_type(stats.published + stats.duplicates + stats.completed + stats.failed, int)
    assert_type(stats.retried + stats.dead_lettered + stats.released, int)
    assert_type(stats.stale + stats.dropped, int)
    peeked = queue.peek()
    assert_type(peeked, list[Peeked[Order]])
    assert_type(peeked[0].payload, Order | None)
    assert_type(peeked[0].due_at, datetime | None)
    assert_type(peeked[0].consumer, str | None)
    assert_type(peeked[0].finished_at, datetime | None)
    assert_type(peeked[0].duration, float | None)
    assert_type(queue.peek(5, state="done"), list[Peeked[Order]])
    assert_type(queue.peek(5, after=peeked[-1]), list[Peeked[Order]])
    takes_any_peeked(peeked[0])
    assert_type(queue.find("id"), Peeked[Order] | None)
    assert_type(queue.promote("id", "id"), int)
    assert_type(queue.consumers(), list[ConsumerInfo])
    assert_type(queue.purge(), int)
    queue.pause()
    queue.resume()


async def looks_async(queue: Queue[Order]) -> None:
    assert_type(await queue.astats(), QueueStats)
    assert_type(await queue.apeek(3, "in_flight"), list[Peeked[Order]])
    assert_type(await queue.afind("id"), Peeked[Order] | None)
    assert_type(await queue.apromote(), int)
    assert_type(await queue.aconsumers(), list[ConsumerInfo])
    assert_type(await queue.apurge(), int)
    await queue.apause()
    await queue.aresume()


def reads_dead_letters(queue: Queue[Order]) -> None:
    assert_type(len(queue.dead), int)
    assert_type(queue.dead.count(), int)
    for letter in queue.dead:
        assert_type(letter, DeadLetter[Order])
        assert_type(letter.id, str)
        assert_type(letter.payload, Order | None)
        assert_type(letter.raw, bytes)
        assert_type(letter.reason, str)
        assert_type(letter.error, str | None)
        assert_type(letter.traceback, str | None)
        assert_type(letter.attempts, int)
        assert_type(letter.published_at, datetime | None)
        assert_type(letter.died_at, datetime)
        assert_type(letter.headers, dict[str, str])
    assert_type(queue.dead.get("id"), DeadLetter[Order] | None)
    assert_type(queue.dead.redrive("a", "b"), int)
    assert_type(queue.dead.redrive(), int)
    assert_type(queue.dead.purge(), int)


async def reads_dead_letters_async(queue: Queue[Order]) -> None:
    assert_type(await queue.dead.acount(), int)
    async for letter in queue.dead:
        assert_type(letter, DeadLetter[Order])
    assert_type(await queue.dead.aget("id"), DeadLetter[Order] | None)
    assert_type(await queue.dead.aredrive("a"), int)
    assert_type(await queue.dead.apurge(), int)


def closes(queue: Queue[Order]) -> None:
    with queue as entered:
        assert_type(entered, Queue[Order])
    with Orders("orders") as own:
        assert_type(own, Orders)
    queue.close()


async def closes_async(queue: Queue[Order]) -> None:
    async with queue as entered:
        assert_type(entered, Queue[Order])
    await queue.aclose()


T = TypeVar("T")


def first(source: Queue[T]) -> T | None:
    message = source.receive()
    return None if message is None else message.payload


def shares_generic_code(queue: Queue[Order], other: Queue[int]) -> None:
    assert_type(first(queue), Order | None)
    assert_type(first(other), int | None)


def raises() -> None:
    errors: list[type[TypedRMQError]] = [
        AlreadySettled,
        ConfigError,
        DataLossDetected,
        LeaseLost,
        PayloadError,
        QueueCorrupt,
        QueueFull,
        QueueUnavailable,
        ServerUnsupported,
    ]
    try:
        raise errors[0]("text")
    except TypedRMQError as error:
        assert_type(error.queue, str | None)
        assert_type(error.message_id, str | None)


def types_of_methods(queue: Queue[Order]) -> None:
    publish: Callable[[Order], Receipt] = queue.publish
    apublish: Callable[[Order], Awaitable[Receipt]] = queue.apublish
    print(publish, apublish)


def takes_any_peeked(seen: Peeked[object]) -> None:
    assert_type(seen.payload, object | None)


async def tests(make: QueueFactory) -> None:
    assert_type(make(Order), Queue[Order])
    assert_type(make(Order, "orders", lease=5, dedup=Dedup(fields=("sku",))), Queue[Order])
    assert_type(make(Queue[Created | Deleted], "events"), Queue[Created | Deleted])
    orders = make(Orders, "orders")
    assert_type(orders, Orders)
    assert_type(published(orders), list[Order])
    drained = drain(orders, takes_payload)
    assert_type(drained, Drained[Order])
    assert_type(drained.payloads, list[Order])
    assert_type((await adrain(orders, takes_message)).payloads, list[Order])
    assert_type(crash(orders).payload, Order | None)


def settings() -> None:
    found = QueueSettings()
    orders = Queue[Order]("orders", found.connection(), **found.options())
    assert_type(orders, Queue[Order])
    assert_type(orders.payload_type, object)
    assert_type(asyncapi([orders, Orders("o")], title="", version=""), dict[str, object])


def a_dashboard_takes_queues_of_any_type(orders: Queue[Order], numbers: Queue[int]) -> None:
    create_app([orders, numbers], read_only=True)
    create_app(Discovery("redis://localhost"), auth=lambda request: "user" in request.session)
    serve((numbers, orders), host="127.0.0.1", port=8070)
