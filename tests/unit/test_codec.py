"""The codec: what is refused, what is stored, and that no error shows a value."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    computed_field,
    field_serializer,
    field_validator,
)
from pydantic import (
    Json as JsonText,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from tests.strategies import TEXT
from typed_rmq.errors import ConfigError, PayloadError
from typed_rmq.serializers import Json
from typed_rmq.serializers.checks import too_deep
from typed_rmq.serializers.codec import Codec, Undecodable

SECRET = "hunter2-4711"


class Order(BaseModel):
    order_id: int
    sku: str
    price: float = 1.0


class Twin(BaseModel):
    order_id: int
    sku: str
    price: float = 1.0


@dataclass
class Point:
    x: float
    label: str = ""


class Row(TypedDict):
    a: int
    b: NotRequired[float | None]


def codec(tp: Any, **options: Any) -> Codec[Any]:
    return Codec(TypeAdapter(tp), Json(), queue="orders", **options)


def refused(tp: Any, payload: Any, **options: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        codec(tp, **options).prepare(payload)
    error = caught.value
    assert error.queue == "orders"
    assert "'orders'" in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert SECRET not in str(error)
    assert SECRET not in repr(error.problems)
    return error


# -------------------------------------------------------------------- accepted


@pytest.mark.parametrize(
    ("tp", "payload", "data"),
    [
        (int, 2**200, str(2**200).encode()),
        (Order, Order(order_id=1, sku="A"), b'{"order_id":1,"sku":"A","price":1.0}'),
        (Order, {"order_id": "1", "sku": "A"}, b'{"order_id":1,"sku":"A","price":1.0}'),
        (Order | Point, {"x": 1}, b'{"x":1.0,"label":""}'),
        (Point, Point(1), b'{"x":1.0,"label":""}'),
        (Row, {"b": 1, "a": 2}, b'{"a":2,"b":1.0}'),
        (Order | None, None, b"null"),
        (list[Order], [{"order_id": 1, "sku": "A"}], b'[{"order_id":1,"sku":"A","price":1.0}]'),
        (Any, {"b": {3, 1, 2}, "a": (1,)}, b'{"b":[1,2,3],"a":[1]}'),
    ],
)
def test_what_is_stored_is_the_validated_payload(tp: Any, payload: Any, data: bytes) -> None:
    loaded, stored = codec(tp).prepare(payload)
    assert stored == data
    assert codec(tp).open(None, data, b"id") == loaded
    assert codec(tp).seal(stored, b"id") is stored


def test_a_mutated_instance_is_validated_again() -> None:
    order = Order(order_id=1, sku="A")
    order.order_id = SECRET  # type: ignore[assignment]  # wrong on purpose
    error = refused(Order, order)
    assert error.problems == (("order_id", "a value is of another type than its field"),)


def test_an_unvalidated_instance_that_lacks_a_field_is_refused() -> None:
    assert refused(Order, Order.model_construct(sku=SECRET)).problems == (
        ("order_id", "Field required"),
    )


@pytest.mark.parametrize("tp", [Order, list[Order], Order | Point, dict[str, Order]])
def test_another_class_with_the_same_fields_is_refused(tp: Any) -> None:
    twin = Twin(order_id=1, sku="A")
    payload = {dict[str, Order]: {"k": twin}, list[Order]: [twin]}.get(tp, twin)
    refused(tp, payload)


def test_a_subclass_counts_as_its_base() -> None:
    class Special(Order):
        extra: str = SECRET

    loaded, data = codec(Order).prepare(Special(order_id=1, sku="A"))
    assert type(loaded) is Order
    assert SECRET.encode() not in data


def test_field_order_of_an_instance_never_matters() -> None:
    order = Order(order_id=1, sku="A")
    turned = Order(order_id=1, sku="A")
    turned.__dict__ = dict(reversed(order.__dict__.items()))
    assert list(turned.__dict__) != list(order.__dict__)
    assert codec(Order).prepare(turned) == codec(Order).prepare(order)


def test_aliases_that_do_not_read_back_are_no_obstacle() -> None:
    class Cat(BaseModel):
        kind: Literal["cat"] = Field("cat", alias="type")
        lives: int = Field(validation_alias="in", serialization_alias="out")

    class Dog(BaseModel):
        model_config = ConfigDict(serialize_by_alias=True, alias_generator=str.upper)
        kind: Literal["dog"] = Field("dog", alias="type")
        age: int

    pets = codec(Annotated[Cat | Dog, Field(discriminator="kind")])
    for pet in (Cat.model_validate({"in": 9}), Dog.model_validate({"AGE": 3})):
        loaded, data = pets.prepare(pet)
        assert loaded == pet
        assert pets.open(None, data, b"") == pet
    assert pets.open(None, b'{"type":"cat","in":9}', b"") == Cat.model_validate({"in": 9})


def test_computed_fields_and_json_text_read_back_also_where_extras_are_forbidden() -> None:
    class Box(BaseModel):
        model_config = ConfigDict(extra="forbid")
        text: JsonText[dict[str, int]]

        @computed_field
        @property
        def size(self) -> int:
            return len(self.text)

    box = Box.model_validate({"text": '{"a":1}'})
    loaded, data = codec(Box).prepare(box)
    assert loaded == box
    assert b"size" not in data


def test_a_typed_dict_that_forbids_extras_refuses_them() -> None:
    class Strict(TypedDict):
        __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as Pydantic's documentation has it
        a: int

    assert codec(Strict).prepare({"a": 1}) == ({"a": 1}, b'{"a":1}')
    assert refused(Strict, {"a": 1, SECRET: 2}).problems[0][0] == "[key]"


def test_a_validator_that_never_settles_is_stored_once_validated() -> None:
    doubling = codec(Annotated[int, AfterValidator(lambda value: value * 2)])
    assert doubling.prepare(3) == (6, b"3")


def test_strict_models_accept_their_own_json() -> None:
    class Event(BaseModel):
        model_config = ConfigDict(strict=True)
        at: datetime
        amount: Decimal

    event = Event(at=datetime.fromisoformat("2026-01-02T03:04:05+00:00"), amount=Decimal("1.10"))
    loaded, _ = codec(Event).prepare(event)
    assert loaded == event
    assert str(loaded.amount) == "1.10"


# -------------------------------------------------------------------- faults


class Floats(BaseModel):
    a: float | None = None
    b: list[float | None] = []
    c: Any = None
    d: dict[str, float | None] = {}
    e: dict[float, int] = {}


class Constants(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    a: float


class Texts(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    a: float


class Quiet(BaseModel):
    a: Annotated[float, BeforeValidator(lambda value: 0.0 if value is None else value)]


class Loose(BaseModel):
    a: Annotated[Decimal, Field(allow_inf_nan=True)]


class Half(enum.Enum):
    NAN = float("nan")


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("tp", "payload", "where"),
    [
        (float, NAN, "payload"),
        (float, -INF, "payload"),
        (Order, Order(order_id=1, sku="A", price=NAN), "price"),
        (Floats, Floats(a=NAN), "a"),
        (Floats, Floats(b=[None, 1.0, INF]), "b.2"),
        (Floats, Floats(c={"x": [NAN]}), "c.[key].0"),
        (Floats, Floats(c=Decimal("NaN")), "c"),
        (Floats, Floats(c=Decimal("-Infinity")), "c"),
        (Floats, Floats(c=Decimal("sNaN")), "c"),
        (Floats, Floats(c={1, NAN}), "c.[key]"),
        (Floats, Floats(c=complex(NAN, 1)), "c"),
        (Floats, Floats(c=Half.NAN), "c"),
        (Floats, Floats(c=Point(x=NAN)), "c.[key]"),
        (Floats, Floats(d={"k": NAN, "l": None}), "d.[key]"),
        (Floats, Floats(e={NAN: 1}), "e"),
        (Constants, Constants(a=NAN), "a"),
        (Texts, Texts(a=INF), "a"),
        (Quiet, Quiet(a=NAN), "a"),
        (Loose, Loose(a=Decimal("Infinity")), "a"),
        (Row, {"a": 1, "b": NAN}, "b"),
        (Point, Point(x=NAN), "x"),
        (float | None, NAN, "payload"),
        (complex, complex(1, INF), "payload"),
        (dict[str, Any], {"a": {"b": NAN}}, "[key].[key]"),
    ],
)
def test_f30_nan_is_refused(tp: Any, payload: Any, where: str) -> None:
    assert refused(tp, payload).problems[0][0] == where


@pytest.mark.parametrize(
    ("tp", "payload"),
    [
        (Floats, Floats()),
        (Floats, Floats(b=[None], c={"NaN": "Infinity and null"}, d={"inf": None})),
        (Row, {"a": 1, "b": None}),
        (float | None, None),
        (str, "NaN null Infinity"),
    ],
)
def test_f30_null_and_words_for_nan_are_no_nan(tp: Any, payload: Any) -> None:
    assert codec(tp).prepare(payload)[0] == payload


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


class Node(BaseModel):
    kids: list[Node] = []


@pytest.mark.parametrize("depth", [101, 150, 300, sys.getrecursionlimit() + 100])
def test_f29_nesting_over_100_is_refused(depth: int) -> None:
    assert "deeper than 100" in str(refused(Any, nested(depth)))
    assert "deeper than 100" in str(refused(list[Any], [{"a": nested(depth)}]))


def test_f29_nesting_of_a_recursive_model_is_refused() -> None:
    node = Node()
    for _ in range(60):
        node = Node(kids=[node])
    assert "deeper than 100" in str(refused(Node, node))


def test_f29_what_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    refused(Any, value)


def test_f29_nesting_of_100_and_brackets_in_text_are_accepted() -> None:
    assert codec(Any).prepare(nested(100))[0] == nested(100)
    text = '[{"\\' * 200
    assert codec(Any).prepare({"a": text, "b": [[text]]})[0] == {"a": text, "b": [[text]]}
    assert codec(Any).prepare([[]] * 500)[0] == [[]] * 500


@given(
    st.recursive(
        st.text('[]{}"\\a'),
        lambda inner: st.lists(inner) | st.dictionaries(st.text('[]{}"\\a'), inner),
    )
)
def test_f29_depth_is_counted_exactly(value: Any) -> None:
    def depth(item: Any) -> int:
        if isinstance(item, dict):
            return 1 + max(map(depth, item.values()), default=0)
        if isinstance(item, list):
            return 1 + max(map(depth, item), default=0)
        return 0

    wrapped = value
    for _ in range(98):
        wrapped = [wrapped]
    data = TypeAdapter(Any).dump_json(wrapped)
    assert too_deep(data) == (depth(wrapped) > 100)


@pytest.mark.parametrize(
    ("tp", "payload"),
    [
        (str, "a\ud800"),
        (Any, {"\udfff": 1}),
        (Order, Order.model_construct(order_id=1, sku="\ud800")),
    ],
)
def test_f31_lone_surrogates_are_refused(tp: Any, payload: Any) -> None:
    assert "surrogate" in str(refused(tp, payload)) or "unicode" in str(refused(tp, payload))


@given(st.integers())
def test_f32_ints_of_any_size_are_exact(number: int) -> None:
    for tp in (int, Any, int | None):
        loaded, data = codec(tp).prepare(number)
        assert codec(tp).open(None, data, b"") == loaded == number
        assert type(loaded) is int


def test_f33_of_a_key_twice_the_last_wins() -> None:
    assert codec(dict[str, int]).open(None, b'{"a":1,"a":2}', b"") == {"a": 2}
    order = codec(Order).open(None, b'{"order_id":1,"order_id":2,"sku":"A"}', b"")
    assert order.order_id == 2


def test_f28_a_large_payload_is_refused_before_and_after() -> None:
    error = refused(str, "x" * 100, max_payload=101)
    assert "102 bytes" in str(error)
    assert "101" in str(error)
    assert codec(str, max_payload=102).prepare("x" * 100)[1]
    refused(str, "x" * 100_000_000)
    with pytest.raises(Undecodable, match="102 bytes"):
        codec(str, max_payload=101).open(None, b'"' + b"x" * 100 + b'"', b"")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'{"order_id":"x","sku":"A"}', b"\xff\xfe", b"[" * 100_000,
     b'{"order_id":1,"sku":"' + SECRET.encode() + b'","price":"' + SECRET.encode() + b'"}'],
)  # fmt: skip
def test_f26_foreign_bytes_are_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        codec(Order).open(None, data, b"id")
    assert caught.value.reason
    assert SECRET not in caught.value.reason
    assert caught.value.__context__ is None


class Picky(BaseModel):
    value: str
    table: dict[int, int] = {}

    @field_validator("value")
    @classmethod
    def check(cls, value: str) -> str:
        match value:
            case "value":
                raise ValueError(f"do not like {SECRET}")
            case "assert":
                raise AssertionError(SECRET)
            case "custom":
                raise PydanticCustomError("my_error", "got {v}", {"v": SECRET})
            case "odd":
                raise ZeroDivisionError(SECRET)
            case "deep":
                raise RecursionError(SECRET)
            case "stop":
                raise KeyboardInterrupt
            case _:
                return value


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"value": "value"}, "value: value_error"),
        ({"value": "assert"}, "value: assertion_error"),
        ({"value": "custom"}, "value: my_error"),
        ({"value": "odd"}, "ZeroDivisionError"),
        ({"value": "deep"}, "RecursionError"),
        (
            {"value": "a", "table": {SECRET: 1}},
            r"table.\[key\].\[key\]: Input should be a valid int",
        ),
    ],
)
def test_f45_no_error_shows_a_value(payload: dict[str, Any], says: str) -> None:
    assert (says.replace("\\", "")) in str(refused(Picky, payload))
    if payload["value"] != "a":
        unchecked = Picky.model_construct(**payload)
        assert says in str(refused(Picky, unchecked)).replace("cannot be read back: ", "")
    with pytest.raises(Undecodable, match=says) as caught:
        codec(Picky).open(None, TypeAdapter(Any).dump_json(payload), b"")
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


def test_f45_a_tag_is_not_shown() -> None:
    class A(BaseModel):
        kind: Literal["a"]

    class B(BaseModel):
        kind: Literal["b"]

    tagged = Annotated[A | B, Field(discriminator="kind")]
    assert "union_tag_invalid" in str(refused(tagged, {"kind": SECRET}))
    with pytest.raises(Undecodable, match="union_tag_invalid") as caught:
        codec(tagged).open(None, b'{"kind":"%b"}' % SECRET.encode(), b"")
    assert SECRET not in caught.value.reason


def test_an_interrupt_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        codec(Picky).prepare({"value": "stop"})
    with pytest.raises(KeyboardInterrupt):
        codec(Picky).open(None, b'{"value":"stop"}', b"")


def test_f47_objects_without_a_json_form_are_refused() -> None:
    assert "cannot be written" in str(refused(Any, {"x": object()}))
    assert "base64" in str(refused(bytes, b"\xff"))


# -------------------------------------------------------------------- configuration


def test_types_that_would_lose_data_are_refused_when_the_queue_is_made() -> None:
    class Login(BaseModel):
        password: SecretStr

    class Revealed(BaseModel):
        password: SecretStr

        @field_serializer("password")
        def reveal(self, value: SecretStr) -> str:
            return value.get_secret_value()

    with pytest.raises(ConfigError, match="asterisks"):
        codec(Login)
    loaded, _ = codec(Revealed).prepare(Revealed(password=SecretStr(SECRET)))
    assert loaded.password.get_secret_value() == SECRET
    with pytest.raises(ConfigError, match="only once"):
        codec(Iterable[int])
    with pytest.raises(ConfigError, match="max_payload"):
        codec(int, max_payload=0)
    with pytest.raises(ConfigError, match="cannot be used"):
        Codec(TypeAdapter("Nowhere"), Json(), queue="q")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("wrong", [Json, "json", None, object()])
def test_what_is_no_serializer_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="serializer= takes"):
        Codec(TypeAdapter(int), wrong, queue="q")


@pytest.mark.parametrize(
    ("tp", "stable"),
    [(int, True), (Order, True), (Order | Point, True), (Row, True), (list[Order], True),
     (dict[str, int], False), (set[int], False), (Any, False), (Picky, False)],
)  # fmt: skip
def test_stable_says_whether_the_bytes_are_canonical(tp: Any, stable: bool) -> None:
    assert codec(tp).stable == stable


@given(
    st.builds(
        Floats,
        a=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        c=st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | TEXT
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
        ),
    )
)
def test_what_was_prepared_is_what_a_consumer_sees(payload: Floats) -> None:
    both = codec(Floats)
    loaded, data = both.prepare(payload)
    assert loaded == payload
    assert both.loads(data) == loaded
    assert both.prepare(loaded) == (loaded, data)
