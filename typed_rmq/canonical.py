"""One form for equal payloads: what content hashes are taken over.

Neither the order of keys in a dict, nor that of the items in a set, nor that of a record's
fields matters. Ints of any size, floats, and Decimals count exactly, by how they are written:
``1``, ``1.0``, and ``True`` differ, as do ``0.0`` and ``-0.0``, and ``Decimal("1.0")`` and
``Decimal("1.00")``.

Which of three ways is taken is decided once per type, from its schema:

* direct: Pydantic's JSON of the payload, where its order is fixed by the type;
* sorted: the same with sorted keys, where there are dicts, or validators that build records;
* exact: ``encode`` of the payload as plain Python values, where there are sets or ``Any``.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from json import JSONEncoder
from typing import TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_json

from .serializers.shape import MAX_DEPTH, shape_of

T = TypeVar("T")

__all__ = ["canonical", "encode"]

_sorted_json = JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


def canonical(adapter: TypeAdapter[T], *, stable: bool = False) -> Callable[[T, bytes], bytes]:
    """A function from a validated payload and its inner bytes to its canonical bytes.

    Args:
        adapter: Pydantic's view of the type.
        stable: the inner bytes are JSON whose order the type fixes (``Codec.stable``), so that
            they are canonical already.

    Raises (the function that is returned):
        ValueError, TypeError: the payload holds something that has no canonical form.

    Example:
        >>> form = canonical(TypeAdapter(dict[str, int]))
        >>> form({"b": 1, "a": 2}, b"") == form({"a": 2, "b": 1}, b"")
        True
    """
    if stable:
        return lambda _payload, data: data
    shape = shape_of(cast("TypeAdapter[object]", adapter))
    to_python = adapter.serializer.to_python
    if shape.anything or shape.unordered:
        return lambda payload, _data: encode(
            to_python(payload, by_alias=False, warnings=False, exclude_computed_fields=True)
        )
    if shape.sortable:
        return lambda payload, _data: _sorted_json(
            to_python(payload, mode="json", round_trip=True, by_alias=False, warnings=False)
        ).encode()
    write = adapter.serializer.to_json
    return lambda payload, _data: write(payload, round_trip=True, by_alias=False, warnings=False)


def encode(value: object) -> bytes:
    """Type-exact bytes for a Python value: equal bytes mean the same value of the same kind.

    Each value is a tag, the length of its text, and its text, so that no two values run into
    each other. Lists, tuples, and deques are one kind: sequences. Records (models, dataclasses)
    carry the name of their class.

    Raises:
        TypeError: an object that neither this function nor Pydantic knows.
        ValueError: nesting over 100, or a lone surrogate.

    Example:
        >>> encode({"b": 1, "a": True}) == encode({"a": True, "b": 1})
        True
        >>> encode(1) == encode(True), encode(1) == encode("1")
        (False, False)
    """
    return _encode(value, 0)


def _encode(value: object, depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if value is None:
        return b"n"
    writer = _SCALARS.get(type(value))
    if writer is not None:
        return writer(value)
    if isinstance(value, Enum):
        return _tagged(b"e", type(value).__name__.encode()) + _encode(value.value, depth + 1)
    if isinstance(value, Mapping):
        pairs = [
            _encode(key, depth + 1) + _encode(item, depth + 1)
            for key, item in cast("Mapping[object, object]", value).items()
        ]
        return _joined(b"d", sorted(pairs))
    if isinstance(value, list | tuple | deque):
        items = cast("list[object]", value)
        return _joined(b"l", [_encode(item, depth + 1) for item in items])
    if isinstance(value, set | frozenset):
        members = cast("set[object]", value)
        return _joined(b"s", sorted(_encode(item, depth + 1) for item in members))
    if isinstance(value, BaseModel):
        fields = value.__pydantic_serializer__.to_python(
            value, by_alias=False, warnings=False, exclude_computed_fields=True
        )
        return _tagged(b"m", type(value).__name__.encode()) + _encode(fields, depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {
            each.name: cast("object", getattr(value, each.name))
            for each in dataclasses.fields(value)
        }
        return _tagged(b"m", type(value).__name__.encode()) + _encode(found, depth + 1)
    for kind, writer in _SCALARS.items():
        if isinstance(value, kind):  # a subclass of int, str, and so on
            return writer(value)
    # A URL, a path, an IP address: whatever Pydantic can write.
    return _tagged(b"o", type(value).__name__.encode()) + _tagged(b"v", _written(value))


def _written(value: object) -> bytes:
    name = type(value).__name__
    try:
        return to_json(value)
    except ValueError:
        pass  # its text may show the value
    raise TypeError(f"a {name} has no canonical form")


def _tagged(tag: bytes, text: bytes) -> bytes:
    return b"%b%d:%b" % (tag, len(text), text)


def _joined(tag: bytes, parts: list[bytes]) -> bytes:
    return b"%b%d:%b" % (tag, len(parts), b"".join(parts))


def _writer(tag: bytes, text: Callable[[T], str]) -> Callable[[object], bytes]:
    return lambda value: _tagged(tag, text(cast("T", value)).encode())


# Before a subclass's parent: bool is an int, datetime is a date.
_SCALARS: dict[type[object], Callable[[object], bytes]] = {
    bool: lambda value: b"T" if value else b"F",
    int: _writer(b"i", lambda value: format(cast("int", value), "x")),  # no limit on digits
    str: _writer(b"t", lambda value: str.__str__(cast("str", value))),
    float: _writer(b"f", float.__repr__),
    bytes: lambda value: _tagged(b"b", cast("bytes", value)),
    Decimal: _writer(b"D", Decimal.__str__),
    datetime: _writer(b"M", datetime.isoformat),
    date: _writer(b"A", date.isoformat),
    time: _writer(b"I", time.isoformat),
    timedelta: _writer(b"L", timedelta.__repr__),
    UUID: _writer(b"U", UUID.__str__),
}
