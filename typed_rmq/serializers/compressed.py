"""Compression with Zstandard, for payloads where it pays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, cast

from ..errors import ConfigError
from .extras import optional
from .problems import Unreadable
from .protocol import Serializer, SerializerFactory, Wrapper

__all__ = ["Compressed"]

_RAW = b"\x00"
_ZSTD = b"\x01"
_DEFAULT_LIMIT = 64 * 1024 * 1024


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...


class _Decompressor(Protocol):
    def decompress(
        self, data: bytes, /, *, max_output_size: int, allow_extra_data: bool
    ) -> bytes: ...


class _PerThread(threading.local):
    """Zstandard's contexts are costly to make and must not be used by two threads at once."""

    compressor: _Compressor | None = None
    decompressor: _Decompressor | None = None


class Compressed:
    """Compresses what ``inner`` writes, with Zstandard. Needs the extra ``zstd``.

    The first byte tells whether the rest is compressed: payloads under ``threshold`` and those
    that do not shrink are stored as they are.

    Args:
        inner: the serializer or wrapper whose bytes are compressed. Put ``Encrypted`` outside
            of this one: encrypted bytes do not shrink.
        level: 1 (fast) to 19 (small).
        threshold: bytes; what is shorter is not compressed.

    Raises:
        ConfigError: the library is not installed, or an option is out of range.

    Example:
        >>> from typed_rmq.serializers.json import Json
        >>> squeeze = Compressed(Json(), threshold=100)
        >>> len(squeeze.wrap(b"again and " * 100, b"id")) < 50
        True
    """

    __slots__ = ("_contexts", "_error", "_inner", "_level", "_module", "_size_of", "_threshold")

    suffix = "+zstd"

    def __init__(
        self,
        inner: Serializer[object] | SerializerFactory | Wrapper,
        level: int = 3,
        threshold: int = 1024,
    ) -> None:
        if not 1 <= level <= 19:
            raise ConfigError(f"level must be 1 to 19, got {level}")
        if threshold < 0:
            raise ConfigError(f"threshold must be 0 bytes or more, got {threshold}")
        module = optional("zstandard", extra="zstd", needed_by="Compressed(...)")
        self._module = module
        self._error = cast("type[Exception]", module.ZstdError)
        self._size_of = cast("Callable[[bytes], int]", module.frame_content_size)
        self._inner = inner
        self._level = level
        self._threshold = threshold
        self._contexts = _PerThread()

    def __reduce__(self) -> tuple[object, ...]:
        return Compressed, (self._inner, self._level, self._threshold)

    @property
    def content_type(self) -> str:
        """The inner one's, followed by ``+zstd``."""
        return self._inner.content_type + self.suffix

    @property
    def inner(self) -> Serializer[object] | SerializerFactory | Wrapper:
        """What writes the bytes that are compressed."""
        return self._inner

    def wrap(self, data: bytes, message_id: bytes, /) -> bytes:
        """The bytes to store. ``message_id`` is not used."""
        if len(data) < self._threshold:
            return _RAW + data
        compressor = self._contexts.compressor
        if compressor is None:
            make = cast("Callable[..., _Compressor]", self._module.ZstdCompressor)
            compressor = self._contexts.compressor = make(level=self._level)
        small = compressor.compress(data)
        return _ZSTD + small if len(small) < len(data) else _RAW + data

    def unwrap(self, data: bytes, message_id: bytes, /, limit: int = _DEFAULT_LIMIT) -> bytes:
        """The bytes that were wrapped; more than ``limit`` of them raise ``ValueError``.

        The size is read from the frame's head before anything is unpacked, so a small message
        cannot fill the memory.
        """
        flag, body = data[:1], data[1:]
        if flag == _RAW:
            return body
        if flag != _ZSTD:
            raise Unreadable("not compressed by this library: its first byte is unknown")
        try:
            size = self._size_of(body)
            if size < 0:
                raise Unreadable("the compressed data does not say how long it is")
            if size > limit:
                raise Unreadable(f"{size} bytes when unpacked, over the limit of {limit}")
            return self._unpacker().decompress(
                body, max_output_size=max(size, 1), allow_extra_data=False
            )
        except self._error:
            pass
        raise Unreadable("the compressed data is damaged")

    def _unpacker(self) -> _Decompressor:
        decompressor = self._contexts.decompressor
        if decompressor is None:
            make = cast("Callable[[], _Decompressor]", self._module.ZstdDecompressor)
            decompressor = self._contexts.decompressor = make()
        return decompressor

    def __repr__(self) -> str:
        return f"Compressed({self._inner!r}, level={self._level}, threshold={self._threshold})"
