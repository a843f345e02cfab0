"""What a serializer is.

A serializer turns one type's payloads into bytes and back. The shipped ones are made without a
type (``Json()``) and are bound to the queue's type by the queue; a user's own may be either a
ready ``Serializer`` or a ``SerializerFactory``. Wrappers (``Compressed``, ``Encrypted``) put a
byte-to-byte step around another serializer: they are ``Wrapper`` objects.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from pydantic import TypeAdapter

T = TypeVar("T")

__all__ = ["Serializer", "SerializerFactory", "Wrapper"]


@runtime_checkable
class Serializer(Protocol[T]):
    """Turns payloads of one type into bytes and back.

    ``content_type`` is stored with each message, so that a consumer can tell formats apart.
    ``loads`` raises ``ValueError`` (Pydantic's ``ValidationError`` is one) for bytes that are
    not a payload; the message then goes to the dead letters with the reason.
    """

    @property
    def content_type(self) -> str: ...

    def dumps(self, payload: T, /) -> bytes: ...

    def loads(self, data: bytes, /) -> T: ...


@runtime_checkable
class SerializerFactory(Protocol):
    """Makes a serializer for the type of a queue."""

    @property
    def content_type(self) -> str: ...

    def bind(self, adapter: TypeAdapter[T], /) -> Serializer[T]: ...


@runtime_checkable
class Wrapper(Protocol):
    """A byte-to-byte step around another serializer: compression, encryption.

    ``message_id`` ties the bytes to their message (Encrypted uses it as associated data).
    ``unwrap`` raises ``ValueError`` for bytes that it did not make.
    """

    @property
    def content_type(self) -> str: ...

    @property
    def inner(self) -> object: ...

    def wrap(self, data: bytes, message_id: bytes, /) -> bytes: ...

    def unwrap(self, data: bytes, message_id: bytes, /) -> bytes: ...
