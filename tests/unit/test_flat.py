"""The short way of writing: taken only where it gives what the ordinary one gives."""

from __future__ import annotations

import math
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, computed_field, field_validator

from typed_rmq import PayloadError
from typed_rmq.serializers import Json
from typed_rmq.serializers.codec import Codec
from typed_rmq.serializers.flat import FlatWriter


class Flat(BaseModel):
    number: int
    text: str = "x"
    ratio: float | None = None
    flag: bool = False


class Whole(BaseModel):
    number: int
    text: str


def codec(tp: Any) -> Codec[Any]:
    return Codec(TypeAdapter(tp), Json(), queue="q")


def is_flat(tp: Any) -> bool:
    return isinstance(getattr(codec(tp).prepare, "__self__", None), FlatWriter)


FLAT, WHOLE = codec(Flat), codec(Whole)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(["1", "true", 1.0, "\ud800", 10**4400, 10**3900, "x" * 4500, b"1"]),
)


@given(
    st.dictionaries(st.sampled_from(["number", "text", "ratio", "flag", "other"]), VALUES),
    st.randoms(),
)
def test_the_short_way_and_the_ordinary_one_agree(values: dict[str, Any], rng: Any) -> None:
    """Also for instances that nothing has validated, with fields missing, foreign, or misplaced."""
    names = list(values)
    rng.shuffle(names)
    payload = Flat.model_construct(**{name: values[name] for name in names})
    payload.__dict__.update(payload.__dict__ | {n: values[n] for n in names if n == "other"})
    ordinary = FLAT._quick
    try:
        expected = ordinary(payload)
    except PayloadError as error:
        with pytest.raises(PayloadError) as refused:
            FLAT.prepare(payload)
        assert str(refused.value) == str(error)
    else:
        validated, data = FLAT.prepare(payload)
        assert (validated, data) == expected
        assert FLAT.open(None, data, b"id") == validated


@pytest.mark.parametrize("length", [10, 4_000, 100_000])
def test_a_long_text_goes_the_short_way_too(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_payload: object) -> tuple[Flat, bytes]:
        raise AssertionError("the ordinary way")

    monkeypatch.setattr(FLAT.prepare.__self__, "_otherwise", never)
    payload = Flat(number=-(10**3900), text="x" * length, ratio=0.5, flag=True)
    assert Flat.model_validate_json(FLAT.prepare(payload)[1]) == payload


def test_what_is_flat() -> None:
    assert is_flat(Flat)
    assert is_flat(Whole)


class Bound(BaseModel):
    number: Annotated[int, Field(gt=0)]


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    text: str


class Checked(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def upper(cls, value: str) -> str:
        return value.upper()


class Computed(BaseModel):
    number: int

    @computed_field  # type: ignore[prop-decorator]  # as Pydantic's documentation has it
    @property
    def double(self) -> int:
        return 2 * self.number


class Allowing(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int


class Renamed(BaseModel):
    number: int = Field(alias="n")


class Left(BaseModel):
    number: int = Field(default=1, exclude=True)


class Nested(BaseModel):
    inner: Whole


class Custom(BaseModel):
    number: int

    def model_post_init(self, context: Any) -> None:
        self.number += 1


@pytest.mark.parametrize(
    "tp",
    [Bound, Stripped, Checked, Computed, Allowing, Renamed, Left, Nested, Custom, int, dict, list],
)
def test_what_asks_for_more_is_not(tp: Any) -> None:
    assert not is_flat(tp)


def test_values_that_need_a_second_look_get_it() -> None:
    wrong = Whole.model_construct(number="1", text="x")
    with pytest.raises(PayloadError, match="number"):
        WHOLE.prepare(wrong)
    swapped = Whole.model_construct(text="x", number=1)
    assert WHOLE.prepare(swapped)[1] == b'{"number":1,"text":"x"}'
    with pytest.raises(PayloadError):
        WHOLE.prepare(Whole.model_construct(number=1, text="\ud800"))
    with pytest.raises(PayloadError):
        FLAT.prepare(Flat.model_construct(number=1, text="", ratio=math.nan, flag=True))
