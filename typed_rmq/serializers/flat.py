"""Flat records: models of plain ints, texts, and the like, which need no second look.

Nearly all messages are such records. Where each field of an instance holds a value of exactly
the type that the model names, and the model asks for nothing more, there is nothing that
validation could find or change: to write the instance is enough. Whatever is not so takes the
ordinary way, which says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Final, Generic, NamedTuple, TypeVar, cast

from pydantic import TypeAdapter

T = TypeVar("T")

__all__ = ["FlatWriter", "flat_writer"]

SHORT: Final = 4_000
"""Bytes. A longer record may hold an int of more digits than Python reads back (4,300)."""

MAX_BITS: Final = 13_000
"""Of an int in a longer record: it has fewer than 4,000 digits."""

_SCALARS: Final[dict[object, type[object]]] = {"int": int, "str": str, "bool": bool, "float": float}

# Anything else in a schema may ask for more, or write something else.
_MODEL: Final = frozenset(
    "type cls schema custom_init root_model config ref metadata frozen".split()
)
_FIELDS: Final = frozenset("type fields model_name computed_fields".split())
_FIELD: Final = frozenset("type schema metadata frozen".split())
_DEFAULT: Final = frozenset("type schema default default_factory".split())
_NULLABLE: Final = frozenset(("type", "schema"))
_CONFIG: Final = frozenset(("title", "extra_fields_behavior"))

_Schema = Mapping[str, object]


class Kind(NamedTuple):
    """What a field may hold."""

    type: type[object]
    nullable: bool = False


class FlatWriter(Generic[T]):
    """Writes the instances of one flat model; calls ``otherwise`` for whatever else it meets."""

    __slots__ = (
        "_cls", "_fields", "_kinds", "_longest", "_names", "_otherwise", "_short", "_write",
    )  # fmt: skip

    def __init__(
        self,
        cls: type[object],
        fields: Mapping[str, Kind],
        write: Callable[[T], bytes],
        otherwise: Callable[[T], tuple[T, bytes]],
        max_payload: int,
    ) -> None:
        self._cls = cls
        self._names = list(fields)
        self._fields = list(fields.values())
        # Nothing has these types where floats must be looked at.
        looks = any(kind.type is float for kind in self._fields)
        self._kinds = [] if looks else [kind.type for kind in self._fields]
        self._write = write
        self._otherwise = otherwise
        self._longest = max_payload
        self._short = min(max_payload, SHORT)

    def prepare(self, payload: T) -> tuple[T, bytes]:
        """See ``Codec.prepare``."""
        if type(payload) is self._cls:
            fields = cast("dict[str, object]", payload.__dict__)
            # The order counts, too: it is that of the JSON, and equal content has equal bytes.
            if [*fields] == self._names and (
                [type(value) for value in fields.values()] == self._kinds or self._fits(fields)
            ):
                return self._written(payload)
        return self._otherwise(payload)

    def _written(self, payload: T) -> tuple[T, bytes]:
        try:
            data = self._write(payload)
            if len(data) <= self._short or (len(data) <= self._longest and _readable(payload)):
                return payload, data
        except ValueError:
            pass  # a lone surrogate; said outside, as this error shows it
        return self._otherwise(payload)

    def _fits(self, fields: dict[str, object]) -> bool:
        """Where there are floats, which must be finite, and fields that may be None."""
        for value, (kind, nullable) in zip(fields.values(), self._fields, strict=True):
            if value is None and nullable:
                continue
            if type(value) is not kind or (isinstance(value, float) and not isfinite(value)):
                return False
        return True


def _readable(payload: object) -> bool:
    """Whether Python reads back each of its ints."""
    values = cast("dict[str, object]", payload.__dict__).values()
    return all(value.bit_length() <= MAX_BITS for value in values if isinstance(value, int))


def flat_writer(
    adapter: TypeAdapter[T], otherwise: Callable[[T], tuple[T, bytes]], max_payload: int
) -> FlatWriter[T] | None:
    """A writer, where the adapter's type is a flat model."""
    model = cast("_Schema", adapter.core_schema)
    record = model.get("schema")
    config = model.get("config", {})
    if (
        model["type"] != "model"
        or not model.keys() <= _MODEL
        or model.get("custom_init")
        or model.get("root_model")
        or not isinstance(config, Mapping)
        or not cast("_Schema", config).keys() <= _CONFIG
        or cast("_Schema", config).get("extra_fields_behavior") == "allow"
        or not isinstance(record, Mapping)
    ):
        return None
    found = _fields(cast("_Schema", record))
    if found is None:
        return None
    cls = cast("type[object]", model["cls"])
    return FlatWriter(cls, found, adapter.serializer.to_json, otherwise, max_payload)


def _fields(record: _Schema) -> dict[str, Kind] | None:
    """What each field may hold; ``None`` where the record asks for more than types."""
    if (
        record["type"] != "model-fields"
        or not record.keys() <= _FIELDS
        or record.get("computed_fields")
    ):
        return None
    found: dict[str, Kind] = {}
    for name, field in cast("Mapping[str, _Schema]", record["fields"]).items():
        kind = _kind(cast("_Schema", field["schema"])) if field.keys() <= _FIELD else None
        if kind is None:
            return None
        found[name] = kind
    return found


def _kind(schema: _Schema) -> Kind | None:
    kind = schema["type"]
    if kind == "default" and schema.keys() <= _DEFAULT:
        return _kind(cast("_Schema", schema["schema"]))
    if kind == "nullable" and schema.keys() <= _NULLABLE:
        inner = _kind(cast("_Schema", schema["schema"]))
        return inner and Kind(inner.type, nullable=True)
    scalar = _SCALARS.get(kind)
    return Kind(scalar) if scalar is not None and len(schema) == 1 else None
