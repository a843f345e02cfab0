"""What type checkers must reject: exactly the lines marked with `# E:`. Only checked, never run."""

from __future__ import annotations

from tests.typing.models import Created, Deleted, Order, Point
from typed_rmq import Connection, Dedup, Json, Message, Queue, Receipt, Retry

order = Order(order_id=1, sku="A")
orders = Queue[Order]("orders")
events = Queue[Created | Deleted]("events")


class Orders(Queue[Order]):
    """A queue by subclassing."""


def makes_queues() -> None:
    Queue[Order]()  # E: a name is needed
    Queue[Order](5)  # E: a name is a str
    Queue[Order]("orders", 5)  # E: not a connection
    Queue[Order]("orders", redis=b"redis://localhost")  # E: a URL is a str
    Queue[Order]("orders", None, Json())  # E: options are keyword-only
    Queue[Order]("orders", overflow="explode")  # E: no such way
    Queue[Order]("orders", retry=3)  # E: Retry(max_attempts=3)
    Queue[Order]("orders", dedup=True)  # E: Dedup() or None
    Queue[Order]("orders", serializer="json")  # E: Json()
    Queue[Order]("orders", lease="1m")  # E: seconds or a timedelta
    Queue[Order]("orders", max_lenght=10)  # E: misspelt
    Queue[Order]("orders", observers=(print,))  # E: an Observer
    Retry(jitter="some")  # E: full or none
    Retry(max_attempts="5")  # E: an int
    Dedup(until="never")  # E: done
    Dedup(window="1h")  # E: seconds or a timedelta
    Connection(None)  # E: a URL or a client


def publishes() -> None:
    orders.publish("text")  # E: not an Order
    orders.publish({"order_id": 1, "sku": "A"})  # E: a dict is not an Order
    orders.publish(Point(1, 2))  # E: another type
    orders.publish(None)  # E: no payload
    orders.publish()  # E: no payload
    orders.publish(order, 5.0)  # E: options are keyword-only
    orders.publish(order, delay="soon")  # E: seconds or a timedelta
    orders.publish(order, at="tomorrow")  # E: a datetime or a timestamp
    orders.publish(order, priority="urgent")  # E: high, normal, low
    orders.publish(order, headers={"a": 1})  # E: str to str
    orders.publish(order, dedup_key=5)  # E: a str
    orders.publish_many([1, 2])  # E: not Orders
    orders.publish_many(order)  # E: one is not many
    events.publish(order)  # E: not in the union
    Orders("orders").publish("text")  # E: the subclass is typed too
    Queue[int]("numbers").publish("5")  # E: not an int


async def publishes_async() -> None:
    await orders.apublish("text")  # E: not an Order
    await orders.apublish_many(["text"])  # E: not Orders
    await orders.publish(order)  # E: the sync form is not awaited
    orders.apublish(order)  # E: never awaited
    receipt: Receipt = orders.apublish(order)  # E: never awaited
    print(receipt)


def consumes() -> None:
    for msg in orders:
        text: str = msg.payload  # E: an Order
        print(text, msg.payload.price)  # E: no such field
        msg.id = "x"  # E: read-only
        msg.retry("later")  # E: seconds or a timedelta
        msg.reject()  # E: a reason is needed
        msg.acknowledge()  # E: ack
    for event in events:
        print(event.payload.order_id)  # E: not a field of the union
    orders.consume(prefetch="many")  # E: a number or auto
    orders.consume(5)  # E: options are keyword-only
    orders.receive().payload  # E: there may be none
    orders.peek(state="lost")  # E: no such state


async def consumes_async() -> None:
    msg = orders.areceive()
    print(msg.payload)  # E: never awaited
    async for item in orders:
        number: int = item.payload  # E: an Order
        print(number)


def takes_text(payload: str) -> None: ...
def takes_point_message(msg: Message[Point]) -> None: ...
def takes_two(payload: Order, other: int) -> None: ...
async def takes_order(payload: Order) -> None: ...


async def works() -> None:
    orders.run(takes_text)  # E: takes an Order
    orders.run(takes_point_message)  # E: takes Message[Order]
    orders.run(takes_two)  # E: takes one argument
    orders.run(takes_order, concurrency="many")  # E: a number
    orders.run(takes_order, processes="all")  # E: a number
    await orders.arun(takes_text)  # E: takes an Order
    orders.arun(takes_order)  # E: never awaited


def looks() -> None:
    stats = orders.stats()
    stats.ready = 1  # E: frozen
    print(stats.pending)  # E: no such figure
    orders.publish(order).duplicate = True  # E: frozen
    orders.dead.redrive(5)  # E: ids are str
    orders.dead.get()  # E: an id is needed
    for letter in orders.dead:
        print(letter.payload.sku)  # E: the payload may be None
