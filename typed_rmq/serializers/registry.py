"""Which serializer reads which content type.

A message carries its content type, so a consumer can read what another version of the
application wrote, also in a format that it no longer writes itself.
"""

from __future__ import annotations

import re

from ..errors import ConfigError
from .json import Json
from .msgpack import MsgPack
from .protocol import SerializerFactory

__all__ = ["lookup", "register"]

_CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9.+/_-]{0,99}")
_SHIPPED: dict[str, type[Json] | type[MsgPack]] = {
    "application/json": Json,
    "application/msgpack": MsgPack,
}
_registered: dict[str, SerializerFactory] = {}


def register(factory: SerializerFactory) -> None:
    """Lets every queue of this process read what ``factory``'s serializers wrote.

    A queue's own serializer needs no registration, nor do the shipped ones.

    Raises:
        ConfigError: the content type is malformed, or belongs to another class.

    Example:
        >>> register(Json())
    """
    content_type = factory.content_type
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise ConfigError(
            f"content type {content_type!r} must be up to 100 of a-z 0-9 . + / _ - in lower case"
        )
    known = _registered.get(content_type)
    owner = _SHIPPED.get(content_type) if known is None else type(known)
    if owner is not None and owner is not type(factory):
        raise ConfigError(f"content type {content_type!r} belongs to {owner.__name__} already")
    _registered[content_type] = factory


def lookup(content_type: str) -> SerializerFactory | None:
    """The factory for a content type without suffixes, or None.

    Raises:
        ConfigError: it is a shipped one whose library is not installed.
    """
    found: SerializerFactory | None = _registered.get(content_type)
    if found is None and content_type in _SHIPPED:
        found = _SHIPPED[content_type]()
        _registered[content_type] = found
    return found
