"""JSON in Pydantic's own single pass: the default format.

Ints of any size stay exact, as do floats; Decimals and datetimes travel as text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar, cast

from pydantic import TypeAdapter

from .protocol import Serializer
from .shape import shape_of

T = TypeVar("T")

__all__ = ["Json", "JsonSerializer", "json_loads"]


class Json:
    """Makes JSON serializers: the default of a queue.

    Fields are stored under their own names, not under their aliases, so that a type whose
    aliases for reading and writing differ can be read back; both are accepted when read.

    Example:
        >>> from pydantic import TypeAdapter
        >>> Json().bind(TypeAdapter(list[int])).dumps([1, 2**70])
        b'[1,1180591620717411303424]'
    """

    __slots__ = ()

    @property
    def content_type(self) -> str:
        """Always ``application/json``."""
        return "application/json"

    def bind(self, adapter: TypeAdapter[T], /) -> Serializer[T]:
        """A serializer for one type."""
        return JsonSerializer(adapter)

    def __repr__(self) -> str:
        return "Json()"


class JsonSerializer(Generic[T]):
    """JSON of one type. ``loads`` is Pydantic's own function, without a Python frame."""

    content_type = "application/json"

    def __init__(self, adapter: TypeAdapter[T]) -> None:
        self._to_json = adapter.serializer.to_json
        self.loads: Callable[[bytes], T] = json_loads(adapter)

    def dumps(self, payload: T, /) -> bytes:
        """The JSON of a payload; raises ``ValueError`` where a value is not of its field's type."""
        return self._to_json(payload, round_trip=True, by_alias=False, warnings="error")


def json_loads(adapter: TypeAdapter[T]) -> Callable[[bytes], T]:
    """Pydantic's JSON reader of a type, told to take names and aliases where there are any."""
    aliased = shape_of(cast("TypeAdapter[object]", adapter)).aliased
    validate = cast("Callable[..., T]", adapter.validator.validate_json)
    # Options cost 0.1 us, so they are given only where they matter.
    return partial(validate, by_alias=True, by_name=True) if aliased else validate
