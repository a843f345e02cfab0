"""Canonical forms: equal payloads have one form, unlike payloads have two."""

from __future__ import annotations

import enum
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator
from pydantic import Json as JsonText
from typing_extensions import TypedDict

from tests.strategies import TEXT
from typed_rmq.canonical import canonical, encode
from typed_rmq.serializers import Json, MsgPack
from typed_rmq.serializers.codec import Codec


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    sku: str
    count: int


@dataclass
class Point:
    x: float
    y: Decimal


class Row(TypedDict):
    a: int
    b: str


class Order(BaseModel):
    items: list[Item]
    tags: dict[str, int] = {}
    marks: set[str] = set()
    groups: frozenset[frozenset[int]] = frozenset()
    anything: Any = None


class Checked(Item):
    @model_validator(mode="after")
    def turned(self) -> Checked:
        self.__dict__ = dict(reversed(self.__dict__.items()))
        return self


class Ordered(Item):
    @model_validator(mode="wrap")
    @classmethod
    def as_given(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        item = handler(data)
        if isinstance(data, dict):
            item.__dict__ = {name: item.__dict__[name] for name in data}
        return item


def form(tp: Any, payload: Any, serializer: Any = None) -> bytes:
    """As the queue does it: prepared by the codec, then canonical."""
    adapter = TypeAdapter(tp)
    codec: Codec[Any] = Codec(adapter, serializer or Json(), queue="q")
    return canonical(adapter, stable=codec.stable)(*codec.prepare(payload))


SERIALIZERS = pytest.mark.parametrize("serializer", [Json(), MsgPack()], ids=repr)


@SERIALIZERS
@pytest.mark.parametrize(
    ("tp", "first", "second"),
    [
        (Row, {"a": 1, "b": "x"}, {"b": "x", "a": 1}),
        (Item, {"sku": "A", "count": 1}, {"count": "1", "sku": "A"}),
        (Point, Point(1, Decimal("2.5")), {"y": "2.5", "x": 1.0}),
        (dict[str, int], {"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (OrderedDict[str, int], OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
        (dict[str, dict[str, int]], {"x": {"a": 1, "b": 2}}, {"x": {"b": 2, "a": 1}}),
        (set[int], {1, 2, 2**70}, [2**70, 2, 1]),
        (Any, {"a": [1, {"b": 2, "c": 3}]}, {"a": [1, {"c": 3, "b": 2}]}),
        (Item | Point, {"sku": "A", "count": 1}, {"count": 1, "sku": "A"}),
        (Checked, Checked(sku="A", count=1), Checked.model_construct(sku="A", count=1)),
        (Ordered, Ordered(count=1, sku="A"), Ordered(sku="A", count=1)),
        (JsonText[dict[str, int]], '{"a":1,"b":2}', '{"b":2, "a":1}'),
    ],
)
def test_order_never_matters(tp: Any, first: Any, second: Any, serializer: Any) -> None:
    assert form(tp, first, serializer) == form(tp, second, serializer)


@SERIALIZERS
@pytest.mark.parametrize(
    ("tp", "first", "second"),
    [
        (int, 2**64, 2**64 + 1),
        (int, 2**53, 2**53 + 1),
        (float, 0.1, 0.1 + 2**-56),
        (Decimal, Decimal("0.1"), Decimal("0.1000000000000000000000000001")),
        (list[int], [1, 2], [2, 1]),
        (Any, 1, "1"),
        (Any, 1, True),
        (Any, 1, 1.0),
        (Any, [], {}),
        (Any, [1, [2]], [[1], 2]),
        (Any, ["a", "b"], ["ab"]),
        (set[str], {"a", "b"}, {"ab"}),
        (dict[str, str], {"a": "b"}, {"b": "a"}),
        (Color, Color.RED, Color.BLUE),
        (int | str, 1, "1"),
        (Literal["a", 1], "a", 1),
    ],
)
def test_unlike_payloads_differ(tp: Any, first: Any, second: Any, serializer: Any) -> None:
    assert form(tp, first, serializer) != form(tp, second, serializer)


def test_an_instance_with_another_field_order_is_the_same() -> None:
    item, turned = Item(sku="A", count=1), Item(sku="A", count=1)
    turned.__dict__ = dict(reversed(item.__dict__.items()))
    assert form(Item, item) == form(Item, turned)
    assert form(list[Item], [item]) == form(list[Item], [turned])
    order, other = Order(items=[item]), Order(items=[turned])
    assert form(Order, order) == form(Order, other)


def test_a_record_that_was_never_validated_is_the_same() -> None:
    assert form(Point, Point(1, Decimal(2))) == form(Point, Point(1.0, "2"))  # type: ignore[arg-type]  # wrong on purpose
    item = Item(sku="A", count=1)
    item.count = True
    assert form(Item, item) == form(Item, Item(sku="A", count=1))


# Ints that meet in a set's table come out in the order in which they went in.
MEMBERS = st.lists(st.integers(0, 40).map(lambda number: number * 1024), min_size=2, unique=True)


@given(MEMBERS, st.randoms(use_true_random=False))
def test_sets_in_any_fields_are_seen(members: list[int], rng: random.Random) -> None:
    def shuffled() -> list[int]:
        return rng.sample(members, len(members))

    first, second = ({"x": [set(shuffled()), {"y": set(shuffled())}]} for _ in range(2))
    assert form(Any, first) == form(Any, second)
    first, second = (
        {frozenset(shuffled()), (frozenset(shuffled()), 1), ("ab", 2)} for _ in range(2)
    )
    assert form(Any, first) == form(Any, second)
    assert form(Any, members) != form(Any, members[::-1])


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 0


@given(st.dictionaries(st.text("bcdef", min_size=1), st.integers(), min_size=2))
def test_extra_fields_come_in_any_order(extra: dict[str, int]) -> None:
    turned = dict(reversed(extra.items()))
    assert form(Extra, Extra(**extra)) == form(Extra, Extra(**turned))


# -------------------------------------------------------------------- encode

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**80)
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from(Color)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
    | st.frozensets(SCALARS, max_size=4),
    max_leaves=15,
)  # fmt: skip


def exact(value: Any) -> Any:
    """A value that is equal to another's only where kind and text are."""
    if isinstance(value, dict):
        return "dict", frozenset((exact(key), exact(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(map(exact, value))
    if isinstance(value, frozenset):
        return "set", frozenset(map(exact, value))
    return type(value).__name__, repr(value)


@given(VALUES, VALUES)
def test_equal_bytes_mean_equal_values(first: Any, second: Any) -> None:
    assert (encode(first) == encode(second)) == (exact(first) == exact(second))


@given(VALUES)
def test_a_rebuilt_value_has_the_same_bytes(value: Any) -> None:
    def rebuilt(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: rebuilt(each) for key, each in reversed(item.items())}
        if isinstance(item, list):
            return tuple(map(rebuilt, item))
        if isinstance(item, frozenset):
            return set(item)
        return item

    assert encode(rebuilt(value)) == encode(value)


@given(VALUES, st.sampled_from([Json(), MsgPack()]))
def test_json_like_payloads_differ_exactly_where_they_do(value: Any, serializer: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Any)
    codec: Codec[Any] = Codec(adapter, serializer, queue="q")
    try:
        loaded, data = codec.prepare({"a": value})
    except ValueError:
        return
    except Exception as error:
        assert type(error).__name__ == "PayloadError"
        return
    make = canonical(adapter)
    assert make(loaded, data) == make(codec.open(codec.content_type, data, b""), b"")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (0.0, -0.0),
        (Decimal("1.0"), Decimal("1.00")),
        ((1, 2), {1, 2}),
        (b"a", "a"),
        (Color.RED, "red"),
        (Point(1, Decimal(1)), {"x": 1, "y": Decimal(1)}),
        (Item(sku="a", count=1), Checked(sku="a", count=1)),
        (Path("/a"), "/a"),
        (timedelta(1), 86400.0),
        (datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1)),
        (time(1), "01:00:00"),
        (UUID(int=1), str(UUID(int=1))),
        ([None], []),
        ({1: 2}, {"1": 2}),
        (-1, 1),
    ],
)
def test_kinds_are_kept_apart(first: Any, second: Any) -> None:
    assert encode(first) != encode(second)


def test_subclasses_and_sequences_count_as_what_they_are() -> None:
    class Name(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "other"

    class Level(enum.IntEnum):
        HIGH = 1

    assert encode(Name("a")) == encode("a")
    assert encode(Level.HIGH) != encode(1)
    assert encode([1, 2]) == encode((1, 2)) == encode(deque([1, 2]))
    assert encode(10**6000) != encode(10**6000 + 1)


def deep() -> Any:
    value: Any = 1
    for _ in range(102):
        value = [value]
    return value


@pytest.mark.parametrize("make", [object, deep, lambda: "\ud800", lambda: print])
def test_what_has_no_form_raises(make: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        encode(make())
    assert caught.value.__context__ is None
