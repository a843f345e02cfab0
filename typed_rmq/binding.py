"""How ``Queue[Order]`` comes to know its type: the one place where the generic is erased.

``Queue[Order]`` is a subclass of ``Queue`` that remembers ``Order``, made once per type.
"""

from __future__ import annotations

import types
from typing import ForwardRef, TypeVar, cast, get_origin

from .errors import ConfigError

C = TypeVar("C")

__all__ = ["UNBOUND", "bind_type", "type_name"]


class _Unbound:
    """No type was given: not ``None``, as that is a type argument too."""


UNBOUND = _Unbound()

_bound: dict[tuple[type, object], type] = {}


def bind_type(cls: type[C], item: object) -> type[C]:
    """The subclass of ``cls`` for payloads of type ``item``."""
    if isinstance(item, str | ForwardRef):
        raise ConfigError(
            f"{cls.__name__}[...] was given the name of a type, not the type: the class must be "
            "defined before the queue"
        )
    if isinstance(item, tuple):
        raise ConfigError(f"{cls.__name__}[...] takes one type; for several use a union: A | B")
    key = (cls, item)
    try:
        known = _bound.get(key)
    except TypeError:  # an Annotated with something in it that cannot be hashed
        return _subclass(cls, item)
    # Equal is not enough: int | str and str | int are, and 1 and True in a Literal.
    if known is not None and repr(vars(known).get("_payload_type")) == repr(item):
        return cast("type[C]", known)
    made = _subclass(cls, item)
    _bound[key] = made
    return made


def _subclass(cls: type[C], item: object) -> type[C]:
    name = f"{cls.__name__}[{type_name(item)}]"

    def fill(namespace: dict[str, object]) -> None:
        namespace["_payload_type"] = item
        namespace["__module__"] = cls.__module__
        namespace["__doc__"] = cls.__doc__

    return cast("type[C]", types.new_class(name, (cls,), {}, fill))


def type_name(item: object) -> str:
    """A type as one would write it."""
    if get_origin(item) is None and isinstance(item, type):
        return item.__name__
    return repr(item).replace("typing.", "")
