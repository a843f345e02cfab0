"""The record types that a queue's type is made of, and the fields that make their dedup key.

``Created | Deleted`` has two members, ``Order`` has one, and ``int`` has none. Nothing else
looks into models, dataclasses, and TypedDicts.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal, NamedTuple, Union, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypeAliasType, get_type_hints, is_typeddict

from .canonical import encode
from .errors import ConfigError

__all__ = ["DedupKey", "Keyed", "key_of_members", "name_of"]


class DedupKey:
    """Marks a field that makes a message's dedup key.

    Works in models, dataclasses, and TypedDicts, inherited or not; several marked fields make
    the key together. In a union each member has its own; a member that marks none goes by its
    whole content.

    Example:
        >>> class Order(BaseModel):
        ...     order_id: Annotated[int, DedupKey]
        ...     sku: str
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "DedupKey()"


Keyed = Callable[[object], bytes | None]
"""From a payload to the bytes of its key fields; None where it goes by its whole content."""

_ABSENT = b"-"  # a field that a TypedDict may leave out; no value's bytes start like this


class _Member(NamedTuple):
    cls: type[object]
    names: tuple[str, ...]  # sorted; empty where the whole content counts
    head: bytes  # the names of the class and of the fields
    fits: Callable[[object], bool] | None  # for TypedDicts, whose payloads are plain dicts


def name_of(tp: object) -> str:
    """The name of a type, without its module, so that a move keeps digests as they are."""
    if isinstance(tp, TypeAliasType):
        return name_of(tp.__value__)
    origin, arguments = cast("object", get_origin(tp)), get_args(tp)
    if origin is Annotated:
        return name_of(arguments[0])
    if _is_union(origin):
        return " | ".join(sorted(map(name_of, arguments)))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is not None:
        inside = ", ".join("..." if each is ... else name_of(each) for each in arguments)
        return f"{name_of(origin)}[{inside}]"
    if tp is None or tp is type(None):
        return "None"
    name: object = getattr(tp, "__name__", None)
    return name if isinstance(name, str) else repr(tp)


def key_of_members(tp: object, names: tuple[str, ...] | None, queue: str) -> Keyed | None:
    """What reads the key fields of a payload; None where no field is named or marked.

    Raises:
        ConfigError: a member lacks one of ``names``, or a key field is not stored.
    """
    members = [_member(part, names, queue) for part in _parts(tp)]
    found = [member for member in members if member is not None]
    if not any(member.names for member in found):
        return None
    classes = {member.cls: member for member in found if member.fits is None}
    dicts = [member for member in found if member.fits is not None]

    def keyed(payload: object) -> bytes | None:
        if isinstance(payload, dict):
            values = cast("Mapping[str, object]", payload)
            member = dicts[0] if len(dicts) == 1 else _fitting(dicts, values)
            if member is None or not member.names:
                return None
            return member.head + b"".join(
                encode(values[name]) if name in values else _ABSENT for name in member.names
            )
        member = classes.get(type(payload)) or _parent(classes, payload)
        if member is None or not member.names:
            return None
        return member.head + b"".join([encode(getattr(payload, name)) for name in member.names])

    return keyed


def _fitting(members: list[_Member], values: Mapping[str, object]) -> _Member | None:
    return next((each for each in members if each.fits is not None and each.fits(values)), None)


def _parent(classes: dict[type[object], _Member], payload: object) -> _Member | None:
    return next((classes[cls] for cls in type(payload).__mro__ if cls in classes), None)


def _is_union(origin: object) -> bool:
    return origin is Union or origin is types.UnionType


def _parts(tp: object) -> Iterator[object]:
    """The members of a union, also of a nested, annotated, or named one."""
    if isinstance(tp, TypeAliasType):
        yield from _parts(tp.__value__)
    elif get_origin(tp) is Annotated:
        yield from _parts(get_args(tp)[0])
    elif _is_union(get_origin(tp)):
        for part in get_args(tp):
            yield from _parts(part)
    else:
        yield tp


def _member(part: object, names: tuple[str, ...] | None, queue: str) -> _Member | None:
    cls = cast("object", get_origin(part)) or part
    fields = _fields(cls, queue) if isinstance(cls, type) else None
    if fields is None or not isinstance(cls, type):
        if names is None:
            return None
        raise ConfigError(
            f"Dedup(fields=...) needs fields, and {name_of(part)} has none: use Dedup(key=...)",
            queue=queue,
        )
    wanted = [name for name, marked in fields.items() if marked] if names is None else names
    for name in wanted:
        if name not in fields:
            raise ConfigError(
                f"Dedup(fields=...): {cls.__name__} has no field {name!r}; it has "
                f"{', '.join(fields) or 'none'}",
                queue=queue,
            )
        if issubclass(cls, BaseModel) and cls.model_fields[name].exclude:
            raise ConfigError(
                f"the dedup key field {name!r} of {cls.__name__} is excluded from what is stored",
                queue=queue,
            )
    fits = None
    if is_typeddict(cls):
        validator = TypeAdapter(cast("type[object]", part)).validator
        allowed = frozenset(fields)

        def fits_part(payload: object) -> bool:
            inside = allowed.issuperset(cast("Mapping[str, object]", payload))
            return inside and validator.isinstance_python(payload, by_alias=False, by_name=True)

        fits = fits_part
    ordered = tuple(sorted(wanted))
    return _Member(cls, ordered, encode((cls.__name__, ordered)), fits)


def _fields(cls: type[object], queue: str) -> dict[str, bool] | None:
    """The fields of a record type, and whether each is marked; None for other types."""
    if issubclass(cls, BaseModel):
        return {
            name: _has_mark(info.metadata) or _marked(info.annotation)
            for name, info in cls.model_fields.items()
        }
    if is_typeddict(cls):
        hints = _hints(cls, queue)
        return {name: _marked(hints.get(name)) for name in _annotations(cls)}
    if dataclasses.is_dataclass(cls):
        hints = _hints(cls, queue)
        return {each.name: _marked(hints.get(each.name)) for each in dataclasses.fields(cls)}
    return None


def _annotations(cls: type[object]) -> dict[str, object]:
    return cast("dict[str, object]", getattr(cls, "__annotations__", {}))


def _hints(cls: type[object], queue: str) -> dict[str, object]:
    try:
        return get_type_hints(cls, include_extras=True)
    except NameError as error:
        # Pydantic may know names that are not global. That matters only where one is a mark.
        texts = [str(note) for base in cls.__mro__ for note in _annotations(base).values()]
        if not any("DedupKey" in text for text in texts):
            return {}
        raise ConfigError(
            f"the annotations of {cls.__name__} cannot be read to find its DedupKey ({error}): "
            "define it at module level, or use Dedup(fields=...)",
            queue=queue,
        ) from error


def _has_mark(metadata: list[object]) -> bool:
    return any(each is DedupKey or isinstance(each, DedupKey) for each in metadata)


def _marked(annotation: object) -> bool:
    """Whether an annotation holds the mark, also inside of ``| None`` or ``NotRequired``."""
    arguments = list(get_args(annotation))
    return _has_mark(arguments) or any(map(_marked, arguments))
