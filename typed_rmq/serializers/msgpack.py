"""MessagePack: smaller than JSON, with the same meaning.

Values take the form that they have in JSON (a datetime and a Decimal are text), so both formats
accept exactly the same payloads, also for models in strict mode. Ints beyond 64 bits, which
MessagePack does not know, are extension type 1 with their decimal digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, cast

from pydantic import TypeAdapter
from pydantic_core import to_json

from .extras import optional
from .json import json_loads
from .problems import Unreadable
from .protocol import Serializer

T = TypeVar("T")

__all__ = ["MsgPack"]

_BIG_INT = 1
_MAX_DIGITS = 4300  # what Python and Pydantic read; more would cost quadratic time


class MsgPack:
    r"""Makes MessagePack serializers. Needs the extra ``msgpack``.

    Raises:
        ConfigError: the library is not installed.

    Example:
        >>> from pydantic import TypeAdapter
        >>> MsgPack().bind(TypeAdapter(dict[str, int])).dumps({"a": 1})
        b'\x81\xa1a\x01'
    """

    __slots__ = ("_pack", "_unpack")

    def __init__(self) -> None:
        msgpack = optional("msgpack", extra="msgpack", needed_by="MsgPack()")
        packb = cast("Callable[..., bytes]", msgpack.packb)
        unpackb = cast("Callable[..., object]", msgpack.unpackb)
        ext_type = cast("Callable[[int, bytes], object]", msgpack.ExtType)

        def big_int(value: object) -> object:
            if isinstance(value, int):
                return ext_type(_BIG_INT, str(value).encode())
            raise TypeError(f"MessagePack cannot hold a {type(value).__name__}")

        self._pack: Callable[[object], bytes] = lambda value: packb(value, default=big_int)
        self._unpack: Callable[[bytes], object] = lambda data: unpackb(
            data, ext_hook=_read_extension, strict_map_key=False, timestamp=3
        )

    def __reduce__(self) -> tuple[object, ...]:
        return MsgPack, ()

    @property
    def content_type(self) -> str:
        """Always ``application/msgpack``."""
        return "application/msgpack"

    def bind(self, adapter: TypeAdapter[T], /) -> Serializer[T]:
        """A serializer for one type."""
        return _MsgPackSerializer(adapter, self._pack, self._unpack)

    def __repr__(self) -> str:
        return "MsgPack()"


class _MsgPackSerializer(Generic[T]):
    content_type = "application/msgpack"

    def __init__(
        self,
        adapter: TypeAdapter[T],
        pack: Callable[[object], bytes],
        unpack: Callable[[bytes], object],
    ) -> None:
        self._to_python = adapter.serializer.to_python
        self._validate = json_loads(adapter)
        self._pack = pack
        self._unpack = unpack

    def dumps(self, payload: T, /) -> bytes:
        return self._pack(
            self._to_python(payload, mode="json", round_trip=True, by_alias=False, warnings="error")
        )

    def loads(self, data: bytes, /) -> T:
        # By way of JSON, as validating Python values follows other rules (strict mode would
        # refuse the text of a datetime).
        return self._validate(to_json(self._unpack(data), inf_nan_mode="constants"))


def _read_extension(code: int, data: bytes) -> object:
    if code == _BIG_INT and len(data) <= _MAX_DIGITS + 1:
        return int(data)
    raise Unreadable(f"unknown MessagePack extension type {code}")
