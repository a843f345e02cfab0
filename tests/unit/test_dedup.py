"""Deduplication keys: which payloads share one, and that nothing else does."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, NotRequired, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypeAliasType, TypedDict

from tests.strategies import CHARACTERS
from typed_rmq.dedup import Dedup, DedupKey, Hasher, bind
from typed_rmq.errors import ConfigError, PayloadError
from typed_rmq.members import name_of
from typed_rmq.serializers import Json, MsgPack
from typed_rmq.serializers.codec import Codec


class Order(BaseModel):
    order_id: int
    sku: str = "A"
    tags: set[str] = set()


class Marked(BaseModel):
    order_id: Annotated[int, DedupKey]
    sku: str = "A"


class Child(Marked):
    more: int = 0


@dataclass
class Point:
    x: Annotated[int, DedupKey()]
    y: int = 0


@pydantic_dataclass
class Checked:
    x: Annotated[int, DedupKey]
    y: int = 0


class Row(TypedDict):
    a: Annotated[int, DedupKey]
    b: NotRequired[Annotated[str | None, DedupKey]]
    c: NotRequired[int]


class Created(BaseModel):
    kind: Literal["created"] = "created"
    order_id: Annotated[int, DedupKey]
    note: str = ""


class Deleted(BaseModel):
    kind: Literal["deleted"] = "deleted"
    order_id: Annotated[int, DedupKey]
    note: str = ""


class Other(BaseModel):
    text: str


class Made(TypedDict):
    kind: Literal["made"]
    n: Annotated[int, DedupKey]
    note: NotRequired[str]


class Gone(TypedDict):
    kind: Literal["gone"]
    n: int
    m: Annotated[int, DedupKey]


def digests(
    tp: Any,
    payload: Any,
    dedup: Dedup[Any] | None = None,
    *,
    queue: str = "q",
    serializer: Any = None,
) -> tuple[bytes, bytes]:
    adapter = TypeAdapter(tp)
    codec: Codec[Any] = Codec(adapter, serializer or Json(), queue=queue)
    hasher: Hasher[Any] = bind(dedup or Dedup(), adapter, tp, queue, stable=codec.stable)
    key, content = hasher.digest(*codec.prepare(payload))
    for digest in filter(None, (key, content)):
        assert re.fullmatch(rb"[A-Za-z0-9+/]{22}", digest)
    return key, content


def key(*args: Any, **options: Any) -> bytes:
    return digests(*args, **options)[0]


# -------------------------------------------------------------------- whole content


def test_the_whole_content_is_the_key_by_default() -> None:
    first, content = digests(Order, Order(order_id=1))
    assert content == b""
    assert key(Order, {"sku": "A", "order_id": "1"}) == first
    assert key(Order, Order(order_id=2)) != first


def test_digests_never_change_between_versions_and_processes() -> None:
    # Producers of two versions must agree. Change the version in the prefix with these.
    assert key(int, 5) == b"sjyTvClIW29jMKym9MLnUw"
    assert key(Order, Order(order_id=1, tags={"a", "b"})) == b"OHnHDNYCLZi/OlBzn7reUA"
    assert key(Marked, Marked(order_id=1)) == b"22LaNq8bpkUixCd5TyjvuA"


@pytest.mark.parametrize(
    ("tp", "payload"),
    [(Other, {"text": "ä"}), (Order, {"order_id": 1, "tags": {"b", "a"}}),
     (Row, {"b": "x", "a": 1}), (dict[str, float], {"b": 1, "a": 2})],
)  # fmt: skip
def test_digests_do_not_depend_on_the_serializer(tp: Any, payload: Any) -> None:
    assert digests(tp, payload) == digests(tp, payload, serializer=MsgPack())


def test_f34_queue_type_and_content_are_covered() -> None:
    class Shell:
        class Order(BaseModel):
            order_id: int
            sku: str = "A"
            tags: set[str] = set()

    one = key(Order, Order(order_id=1))
    assert key(Order, Order(order_id=1), queue="p") != one
    assert key(Shell.Order, {"order_id": 1}) == one  # a move to another module keeps it
    assert key(int, 1) != key(int | None, 1)
    assert key(int, 1, queue="ab") != key(int, 1, queue="a")


@given(st.sets(st.text(CHARACTERS, max_size=4), min_size=2), st.randoms(use_true_random=False))
def test_f34_the_order_of_a_set_does_not_matter(tags: set[str], rng: random.Random) -> None:
    shuffled = [*tags]
    rng.shuffle(shuffled)
    for serializer in (Json(), MsgPack()):
        first = key(Order, {"order_id": 1, "tags": [*tags]}, serializer=serializer)
        assert key(Order, {"order_id": 1, "tags": shuffled}, serializer=serializer) == first


@given(st.integers(), st.integers())
def test_f32_f34_ints_of_any_size_are_told_apart(first: int, second: int) -> None:
    same = key(dict[str, int], {"n": first}) == key(dict[str, int], {"n": second})
    assert same == (first == second)
    assert key(Any, 2**70) != key(Any, 2**70 + 1) != key(Any, float(2**70))


def test_f33_the_hash_is_taken_after_validation() -> None:
    adapter = TypeAdapter(dict[str, int])
    codec = Codec(adapter, Json(), queue="q")
    twice = codec.open(None, b'{"a":1,"a":2}', b"")
    assert key(dict[str, int], twice) == key(dict[str, int], {"a": 2})


# -------------------------------------------------------------------- fields


def test_f35_equal_keys_with_other_content_are_a_conflict() -> None:
    by_id: Dedup[Any] = Dedup(fields=("order_id",))
    first, content = digests(Order, Order(order_id=1), by_id)
    again, other = digests(Order, Order(order_id=1, sku="B"), by_id)
    assert first == again
    assert content != other
    assert digests(Order, Order(order_id=1), by_id) == (first, content)
    assert key(Order, Order(order_id=2), by_id) != first


@pytest.mark.parametrize(
    ("tp", "name", "payload", "same", "other"),
    [
        (Marked, "order_id", Marked(order_id=1), Marked(order_id=1, sku="B"), Marked(order_id=2)),
        (Child, "order_id", Child(order_id=1), Child(order_id=1, more=5), Child(order_id=2)),
        (Point, "x", Point(1), Point(1, 5), Point(2)),
        (Checked, "x", Checked(1), Checked(1, 5), Checked(2)),
        (Annotated[Marked, "a"], "order_id", Marked(order_id=1), {"order_id": 1, "sku": "C"},
         Marked(order_id=3)),
        (TypeAliasType("Alias", Marked), "order_id", Marked(order_id=1),
         {"order_id": 1, "sku": "C"}, Marked(order_id=3)),
    ],
)  # fmt: skip
def test_marked_fields_and_named_fields_agree(
    tp: Any, name: str, payload: Any, same: Any, other: Any
) -> None:
    by_name: Dedup[Any] = Dedup(fields=[name])
    assert key(tp, payload) == key(tp, same) == key(tp, payload, by_name)
    assert digests(tp, payload)[1] != digests(tp, same)[1]
    assert key(tp, payload) != key(tp, other)


def test_several_fields_in_any_order_and_absent_ones() -> None:
    both: Dedup[Any] = Dedup(fields=("b", "a"))
    assert key(Row, {"a": 1, "b": "x"}) == key(Row, {"b": "x", "a": 1, "c": 5}, both)
    assert len({key(Row, row) for row in ({"a": 1}, {"a": 1, "b": None}, {"a": 1, "b": ""})}) == 3
    assert key(Row, {"a": 1}) == key(Row, {"a": 1, "c": 2})


@pytest.mark.parametrize(
    "tp",
    [
        Created | Deleted,
        Union[Deleted, Created],
        Annotated[Created | Deleted, Field(discriminator="kind")],
    ],
)
def test_members_of_a_union_stay_apart(tp: Any) -> None:
    created = key(tp, Created(order_id=1))
    assert created == key(tp, Created(order_id=1, note="x"))
    assert created != key(tp, Deleted(order_id=1))
    by_name: Dedup[Any] = Dedup(fields=("order_id",))
    assert created == key(tp, Created(order_id=1), by_name)
    assert key(tp, Deleted(order_id=1)) == key(tp, Deleted(order_id=1, note="x"), by_name)


def test_a_member_without_a_mark_goes_by_its_content() -> None:
    tp = Created | Other | int
    assert digests(tp, Other(text="a"))[1] == b""
    assert key(tp, Other(text="a")) != key(tp, Other(text="b"))
    assert digests(tp, 5)[1] == b""
    assert digests(tp, Created(order_id=1))[1] != b""


def test_members_that_are_typed_dicts_are_told_apart() -> None:
    tp = Made | Gone
    made = key(tp, {"kind": "made", "n": 1})
    assert made == key(tp, {"kind": "made", "n": 1, "note": "x"})
    assert made != key(tp, {"kind": "gone", "n": 1, "m": 1})
    assert key(tp, {"kind": "gone", "n": 1, "m": 1}) == key(tp, {"kind": "gone", "n": 5, "m": 1})


def test_unknown_fields_are_refused_when_bound() -> None:
    class Hidden(BaseModel):
        a: int = Field(default=1, exclude=True)

    for tp, fields, says in (
        (Order, ("order",), "has no field 'order'; it has order_id, sku, tags"),
        (Created | Other, ("order_id",), "Other has no field"),
        (int, ("real",), "int has none"),
        (Order | None, ("order_id",), "None has none"),
        (Row, ("z",), "Row has no field 'z'"),
        (Point, ("z",), "Point has no field 'z'"),
        (Hidden, ("a",), "excluded"),
    ):
        with pytest.raises(ConfigError, match=re.escape(says)) as caught:
            bind(Dedup(fields=fields), TypeAdapter(tp), tp, "orders")
        assert caught.value.queue == "orders"


def test_a_mark_that_cannot_be_read_is_an_error() -> None:
    Local = int

    @dataclass
    class Hidden:
        x: Annotated[Local, DedupKey]

    Hidden.__annotations__ = {"x": "Annotated[Nowhere, DedupKey]"}
    with pytest.raises(ConfigError, match="cannot be read"):
        bind(Dedup(), TypeAdapter(int), Hidden, "q")
    Hidden.__annotations__ = {"x": "Nowhere"}
    bind(Dedup(), TypeAdapter(int), Hidden, "q")


# -------------------------------------------------------------------- functions


@pytest.mark.parametrize(
    ("first", "second"), [(1, "1"), (1, True), (1, 1.0), (None, ""), ((1, 2), (12,)), (b"a", "a")]
)
def test_results_of_a_key_function_are_type_exact(first: Any, second: Any) -> None:
    def by(value: Any) -> bytes:
        return key(Order, Order(order_id=1), Dedup(key=lambda _order: (value, 0)))

    assert by(first) == by(first)
    assert by(first) != by(second)


def test_a_key_function_makes_conflicts_known() -> None:
    by: Dedup[Any] = Dedup(key=lambda order: order.order_id % 10)
    first, second = (digests(Order, Order(order_id=number), by) for number in (1, 11))
    assert first[0] == second[0]
    assert first[1] != second[1]


def secretly(_order: object) -> object:
    raise KeyError("hunter2")


@pytest.mark.parametrize(
    "function", [secretly, lambda _order: None, lambda _order: object(), lambda _order: "\ud800"]
)
def test_f45_errors_of_a_key_function_name_the_queue_and_no_value(
    function: Callable[[Any], object],
) -> None:
    with pytest.raises(PayloadError, match="'orders'") as caught:
        key(Order, Order(order_id=1), Dedup(key=function), queue="orders")
    assert caught.value.queue == "orders"
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)


def test_explicit_keys() -> None:
    adapter = TypeAdapter(Order)
    hasher = bind(Dedup(), adapter, Order, "q")
    order = Order(order_id=1)
    first, content = hasher.explicit("k", order, b"")
    assert hasher.explicit("k", Order(order_id=2), b"")[0] == first
    assert hasher.explicit("k", Order(order_id=2), b"")[1] != content
    assert hasher.explicit("l", order, b"")[0] != first
    assert hasher.explicit("k", order, b"")[1] == hasher.digest(order, b"")[0]
    for wrong in ("", None, 5, "\ud800"):
        with pytest.raises(PayloadError, match="dedup_key"):
            hasher.explicit(wrong, order, b"")  # type: ignore[arg-type]  # wrong on purpose


def test_f34_ways_of_making_keys_never_meet() -> None:
    keys = {
        key(str, "k"),
        key(str, "k", Dedup(key=lambda value: value)),
        bind(Dedup(), TypeAdapter(str), str, "q").explicit("k", "k", b'"k"')[0],
        key(Marked, Marked(order_id=1)),
        key(Marked, Marked(order_id=1), Dedup(key=lambda order: order.order_id)),
        key(Order, Order(order_id=1), Dedup(key=lambda order: order)),
        key(Order, Order(order_id=1)),
    }
    assert len(keys) == 7


# -------------------------------------------------------------------- hashes and options


def test_f34_a_hash_of_ones_own_is_used_and_folded() -> None:
    seen: list[bytes] = []

    def sha(data: bytes) -> bytes:
        seen.append(data)
        return hashlib.sha256(data).digest()

    folded = key(Order, Order(order_id=1), Dedup(hash=sha))
    assert folded != key(Order, Order(order_id=1))
    assert b"Order" in seen[-1]
    full = key(int, 1, Dedup(hash=lambda data: hashlib.md5(data).digest()))
    assert full != key(int, 2, Dedup(hash=lambda data: hashlib.md5(data).digest()))


def test_f34_hashes_that_would_collide_are_refused() -> None:
    counter = iter(range(10))
    for wrong, says in (
        (lambda data: hashlib.blake2b(data, digest_size=15).digest(), "16 bytes or more, got 15"),
        (lambda data: b"", "got 0"),
        (lambda data: hashlib.sha256(data).hexdigest(), "must return bytes, not str"),
        (lambda data: bytes([next(counter)]) * 16, "same for the same"),
        (lambda data: 1 / 0, "ZeroDivisionError"),
        (lambda: b"", "TypeError"),
    ):
        with pytest.raises(ConfigError, match=says):
            Dedup(hash=wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_hash_that_fails_later_is_a_payload_error() -> None:
    def moody(data: bytes) -> bytes:
        if data == b"typed_rmq":
            return b"x" * 16
        raise ValueError("hunter2")

    for wrong, says in (
        (moody, "raised ValueError"),
        (lambda data: data[:9] + b"x" * 7 * (data == b"typed_rmq"), "9 bytes, fewer than 16"),
    ):
        with pytest.raises(PayloadError, match=says) as caught:
            key(int, 1, Dedup(hash=wrong))
        assert caught.value.__context__ is None
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"fields": ("a",), "key": len},
        {"fields": "order_id"},
        {"fields": ()},
        {"fields": ("a", "a")},
        {"fields": ("",)},
        {"fields": (1,)},
        {"key": "order_id"},
        {"window": 0},
        {"window": -1},
        {"window": float("inf")},
        {"until": "acked"},
        {"until": "done", "window": 60},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Dedup(**options)


def test_options_are_kept() -> None:
    assert Dedup(window=timedelta(minutes=1)).window_ms == 60_000
    assert Dedup(fields=["b", "a"]).fields == ("b", "a")
    assert Dedup(until="done").until == "done"
    assert hash(Dedup()) == hash(Dedup())
    assert Dedup() == Dedup()
    with pytest.raises(AttributeError):
        Dedup().window = 5  # type: ignore[misc]  # frozen
    assert repr(DedupKey()) == "DedupKey()"


Alias = TypeAliasType("Alias", Order | None)


@pytest.mark.parametrize(
    ("tp", "name"),
    [
        (Order, "Order"),
        (Order | None, "None | Order"),
        (Alias, "None | Order"),
        (Annotated[Order, 1], "Order"),
        (list[Order | int], "list[Order | int]"),
        (dict[str, Any], "dict[str, Any]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Literal["a\n", 1], "Literal['a\\n', 1]"),
    ],
)
def test_names_of_types(tp: Any, name: str) -> None:
    assert name_of(tp) == name


def test_the_type_argument_may_be_written_out() -> None:
    assert Dedup[Order](key=lambda order: order.order_id).key is not None
