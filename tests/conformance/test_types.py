"""What a queue's type may be, and that only such payloads get in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tests.conformance.harness import Mode, Order, ids
from typed_rmq import ConfigError, PayloadError, Queue

NOWHERE = "redis://127.0.0.1:1/0"
"""For what is refused before anything is sent."""


class Created(BaseModel):
    kind: Literal["created"] = "created"
    at: int


class Deleted(BaseModel):
    kind: Literal["deleted"] = "deleted"
    at: int


@dataclass
class Point:
    x: int
    label: str = ""


class Row(TypedDict):
    name: str
    size: int


class Secret(BaseModel):
    password: int


Event = Annotated[Created | Deleted, Field(discriminator="kind")]

EXAMPLES: list[tuple[Any, list[Any]]] = [
    (Order, [Order(order_id=1)]),
    (Created | Deleted, [Created(at=1), Deleted(at=1)]),
    (Event, [Created(at=1), Deleted(at=1)]),
    (Point, [Point(1, "a"), Point(2)]),
    (Row, [{"name": "a", "size": 1}]),
    (int, [0, -7, 2**100]),
    (str, ["", "ü\n\x00"]),
    (bytes, [b"plain"]),
    (list[Order], [[Order(order_id=1), Order(order_id=2)], []]),
    (dict[str, int], [{"a": 1}, {}]),
    (tuple[int, str], [(1, "a")]),
    (int | None, [None, 3]),
    (Literal["go", "stop"], ["go", "stop"]),
]


@pytest.mark.servers("valkey")  # to the servers all of them are bytes
@pytest.mark.parametrize(("payload_type", "payloads"), EXAMPLES)
def test_a_payload_comes_back_as_what_it_was(
    mode: Mode, payload_type: Any, payloads: list[Any]
) -> None:
    rmq = mode.open(payload_type)
    for payload in payloads:
        assert not rmq.publish(payload).duplicate
        assert rmq.publish(payload).duplicate
    back = rmq.consume_all()
    assert back == payloads
    assert [type(each) for each in back] == [type(each) for each in payloads]


@pytest.mark.servers("valkey")  # nothing is stored in one
@pytest.mark.parametrize(
    ("payload_type", "wrong"),
    [
        (Order, {"order_id": "many"}),
        (Order, {"sku": "no id"}),
        (Order, Created(at=1)),
        (Order, None),
        (Order, "text"),
        (Created | Deleted, {"kind": "renamed", "at": 1}),
        (Created | Deleted, Order(order_id=1)),
        (Point, {"x": "wide"}),
        (Row, {"name": "a"}),
        (int, "many"),
        (int, 1.5),
        (int, None),
        (float, float("nan")),
        (float, float("inf")),
        (str, "\ud800"),
        (str, 7),
    ],
)
def test_what_is_not_of_the_type_is_refused(mode: Mode, payload_type: Any, wrong: Any) -> None:
    rmq = mode.open(payload_type)
    with pytest.raises(PayloadError) as caught:
        rmq.publish(wrong)
    assert caught.value.queue == mode.queue_name
    with pytest.raises(PayloadError) as caught:
        rmq.publish_many([wrong])
    assert caught.value.index == 0
    assert rmq.stats().published == 0


def test_plain_data_that_fits_becomes_the_type(mode: Mode) -> None:
    rmq = mode.open()
    rmq.publish({"order_id": 1, "sku": "B"})
    rmq.publish({"order_id": "2"})
    first, second = rmq.consume_all()
    assert first == Order(order_id=1, sku="B")
    assert second == Order(order_id=2)
    assert type(first) is Order


def test_instances_made_without_validation_are_validated(mode: Mode) -> None:
    rmq = mode.open()
    with pytest.raises(PayloadError):
        rmq.publish(Order.model_construct(order_id="many"))
    with pytest.raises(PayloadError):
        rmq.publish(Order.model_construct(sku="A"))
    changed = Order(order_id=1)
    changed.__dict__["order_id"] = ["not", "a", "number"]
    with pytest.raises(PayloadError):
        rmq.publish(changed)
    assert rmq.stats().published == 0
    rmq.publish(Order.model_construct(order_id=7, sku="A"))
    assert ids(rmq.consume_all()) == [7]


def test_f45_an_error_never_shows_the_payload(mode: Mode) -> None:
    rmq = mode.open(Secret)
    with pytest.raises(PayloadError) as caught:
        rmq.publish({"password": "hunter2"})
    error = caught.value
    assert "hunter2" not in f"{error} {error!r} {error.problems} {error.__cause__!r}"
    assert error.__context__ is None
    assert "password" in str(error)
    assert error.problems[0][0] == "password"


def test_a_queue_class_of_ones_own(mode: Mode) -> None:
    class Orders(Queue[Order]):
        """With a method of its own."""

        def label(self) -> str:
            return f"orders in {self.name}"

    rmq = mode.adopt(Orders(mode.queue_name, mode.url))
    assert rmq.queue.label() == f"orders in {mode.queue_name}"
    rmq.publish(Order(order_id=1))
    with pytest.raises(PayloadError):
        rmq.publish(7)
    # It is the same queue as Queue[Order] of that name.
    assert ids(mode.open().consume_all()) == [1]


def test_a_bare_queue_has_no_type() -> None:
    with pytest.raises(ConfigError, match="has no type"):
        Queue("orders", NOWHERE)

    class Nothing(Queue):  # type: ignore[type-arg]  # refused is what it must be
        pass

    with pytest.raises(ConfigError, match="has no type"):
        Nothing("orders", NOWHERE)


@pytest.mark.parametrize("item", ["Order", (Order, int), object()])
def test_what_is_no_type_is_refused(item: Any) -> None:
    with pytest.raises(ConfigError):
        Queue[item]("orders", NOWHERE)


def test_the_same_type_gives_the_same_class() -> None:
    assert Queue[Order] is Queue[Order]
    assert issubclass(Queue[Order], Queue)
    assert repr(Queue[Order]("orders", NOWHERE)) == "<Queue[Order] 'orders'>"


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("name", ["a", "Orders.v2:eu-west_1", "x" * 128, "0", ":", "."])
def test_names_that_are_allowed(mode: Mode, name: str) -> None:
    rmq = mode.open(name=name)
    assert rmq.queue.name == name
    rmq.publish(Order(order_id=1))
    assert ids(rmq.consume_all()) == [1]


@pytest.mark.parametrize(
    "name",
    ["", "x" * 129, "a b", "a/b", "{a}", "a}", "a\n", "a\x00", "é", "a*", "a'b", None, 7, b"a"],
)
def test_f43_names_that_are_refused(name: Any) -> None:
    with pytest.raises(ConfigError):
        Queue[Order](name, NOWHERE)


@pytest.mark.parametrize(
    "options",
    [
        {"lease": 0},
        {"lease": 0.01},
        {"lease": -1},
        {"lease": 1e9},
        {"lease": float("nan")},
        {"keep_done": -1},
        {"keep_dead": -1},
        {"max_payload": 0},
        {"max_length": 0},
        {"max_length": -1},
        {"overflow": "grow"},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Queue[Order]("orders", NOWHERE, **options)
