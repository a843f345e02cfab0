"""Deduplication: which payloads count as the same message.

The rules of a digest:

* It covers a version, what the key is made of (the whole content, some fields, the result of a
  function, or the caller's own key), the queue's name, the type's name, and canonical bytes. So
  keys of different queues, types, and ways of making them never meet.
* ``fields=("a",)`` and ``Annotated[..., DedupKey]`` on ``a`` make the same key. Both cover the
  name of the class, so that members of a union with equal fields stay apart.
* Whatever the hash function returns, 16 bytes are kept: 22 characters of base64.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, cast

from pydantic import TypeAdapter
from typing_extensions import TypeVar

from .canonical import canonical, encode
from .errors import ConfigError, PayloadError
from .members import DedupKey, key_of_members, name_of
from .retry import Duration, seconds

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True, default=object)

__all__ = ["Dedup", "DedupKey", "Hasher", "bind"]

DIGEST_BYTES = 16
DIGEST_CHARS = 22
_VERSION = b"trmq2"


# Without slots: typing writes the type argument of Dedup[Order](...) into the instance.
@dataclass(frozen=True)
class Dedup(Generic[T_contra]):
    """How a queue recognizes a message that it has already.

    With no options the whole content is the key, or the fields that the type marks with
    ``Annotated[..., DedupKey]``.

    Args:
        fields: names of the fields that make the key (of every member of a union).
        key: a function from the payload to its key: text, a number, a tuple of them, or any
            other plain value. It has to give the same result in every process. ``None`` is
            refused, as all payloads without a key would count as one.
        window: seconds for which a published message is remembered.
        until: ``"done"`` remembers it until it is acked or dead, however long, instead of for
            ``window``.
        hash: ``bytes -> bytes``, 16 bytes or more, the same in every process and run; for
            example a keyed hash. BLAKE2b-128 by default. Longer digests are folded to 16 bytes.

    Raises:
        ConfigError: an option is out of range, two of them exclude each other, or the hash is
            too short or not the same twice.

    Example:
        >>> Dedup(fields=("order_id",), window=600)
        Dedup(fields=('order_id',), key=None, window=600, until=None, hash=None)
    """

    fields: Iterable[str] | None = None
    key: Callable[[T_contra], object] | None = None
    window: Duration = 3600.0
    until: Literal["done"] | None = None
    hash: Callable[[bytes], bytes] | None = None

    def __post_init__(self) -> None:
        if self.fields is not None:
            object.__setattr__(self, "fields", _checked_fields(self.fields))
            if self.key is not None:
                raise ConfigError("Dedup takes fields= or key=, not both")
        if self.key is not None and not callable(self.key):
            raise ConfigError("Dedup(key=...) takes a function; for names of fields use fields=")
        if seconds(self.window, "window") < 0.001:
            raise ConfigError("window must be 1 ms or more; dedup=None turns deduplication off")
        if self.until not in (None, "done"):
            raise ConfigError(f'until must be "done" or None, got {self.until!r}')
        if self.until == "done" and seconds(self.window, "window") != 3600.0:
            raise ConfigError('Dedup takes window= or until="done", not both')
        if self.hash is not None:
            _probe(self.hash)

    @property
    def window_ms(self) -> int:
        """The window in whole milliseconds."""
        return round(seconds(self.window, "window") * 1000)


class Hasher(Generic[T]):
    """Makes the digests of one queue's payloads; made by ``bind``.

    Attributes:
        digest: ``digest(payload, data) -> (key digest, content digest)`` for a payload and its
            inner bytes, as ``Codec.prepare`` returned them. The second is ``b""`` where the key
            is the whole content, as then there can be no conflict. Raises ``PayloadError``.
    """

    __slots__ = ("_by_fields", "_by_key", "_content", "_explicit", "_form", "_queue", "digest")

    def __init__(
        self, dedup: Dedup[T], adapter: TypeAdapter[T], tp: object, queue: str, stable: bool
    ) -> None:
        def hashing(kind: bytes) -> Callable[[bytes], bytes]:
            return _hashing(dedup.hash, kind, queue, name_of(tp))

        self._queue = queue
        self._form = canonical(adapter, stable=stable)
        self._content = hashing(b"content")
        self._explicit = hashing(b"explicit")
        self.digest: Callable[[T, bytes], tuple[bytes, bytes]]
        if dedup.key is not None:
            self._by_key = dedup.key, hashing(b"key")
            self.digest = self._digest_key
            return
        names = cast("tuple[str, ...] | None", dedup.fields)
        keyed = key_of_members(tp, names, queue)
        if keyed is not None:
            self._by_fields = keyed, hashing(b"fields")
            self.digest = self._digest_fields
        elif stable and dedup.hash is None:
            self.digest = _whole_content(queue, name_of(tp))
        else:
            self.digest = self._digest_content

    def explicit(self, key: str, payload: T, data: bytes) -> tuple[bytes, bytes]:
        """The digests for a key that the caller gives (``publish(dedup_key=...)``).

        Raises:
            PayloadError: the key is empty, or is not text that can be encoded.
        """
        if not isinstance(cast("object", key), str) or not key:
            raise PayloadError("dedup_key must be text, not empty", queue=self._queue)
        text = self._tried(key.encode, "writing dedup_key")
        return self._explicit(text), self._whole(payload, data)

    def _digest_content(self, payload: T, data: bytes) -> tuple[bytes, bytes]:
        return self._whole(payload, data), b""

    def _digest_fields(self, payload: T, data: bytes) -> tuple[bytes, bytes]:
        keyed, hashed = self._by_fields
        fields = self._tried(lambda: keyed(payload), "reading the dedup fields")
        if fields is None:  # a member of the union that marks no field
            return self._whole(payload, data), b""
        return hashed(fields), self._whole(payload, data)

    def _digest_key(self, payload: T, data: bytes) -> tuple[bytes, bytes]:
        function, hashed = self._by_key
        value = self._tried(lambda: function(payload), "the dedup key function")
        if value is None:
            raise PayloadError(
                f"queue {self._queue!r}: the dedup key function returned None, and all such "
                "payloads would count as one",
                queue=self._queue,
            )
        form = self._tried(lambda: encode(value), "writing the result of the dedup key function")
        return hashed(form), self._whole(payload, data)

    def _whole(self, payload: T, data: bytes) -> bytes:
        form = self._tried(lambda: self._form(payload, data), "ordering the content")
        return self._content(form)

    def _tried(self, make: Callable[[], R], what: str) -> R:
        """``make()``, with any error of it told without its text, which may hold values."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001
            name = type(error).__name__
        raise PayloadError(f"queue {self._queue!r}: {what} raised {name}", queue=self._queue)


def bind(
    dedup: Dedup[T], adapter: TypeAdapter[T], tp: object, queue: str, *, stable: bool = False
) -> Hasher[T]:
    """The hasher of a queue.

    Args:
        dedup: the policy.
        adapter: Pydantic's view of the type.
        tp: the type itself: its name is part of each digest, its fields are looked up.
        queue: the queue's name.
        stable: ``Codec.stable`` of the queue's codec.

    Raises:
        ConfigError: the type has no field of a name in ``fields``.

    Example:
        >>> hasher = bind(Dedup(), TypeAdapter(int), int, "numbers")
        >>> key, content = hasher.digest(1, b"1")
        >>> len(key), content
        (22, b'')
    """
    return Hasher(dedup, adapter, tp, queue, stable)


def _prefix(kind: bytes, queue: str, type_name: str) -> bytes:
    # Names hold no newline, so that no two prefixes run into each other.
    return b"\n".join((_VERSION, kind, queue.encode(), type_name.encode(), b""))


def _whole_content(queue: str, type_name: str) -> Callable[[object, bytes], tuple[bytes, bytes]]:
    """The hottest path in one frame: the bytes are canonical, the hash is BLAKE2b."""
    start, to_base64 = _start(_prefix(b"content", queue, type_name)), binascii.b2a_base64

    def digest(_payload: object, data: bytes) -> tuple[bytes, bytes]:
        state = start()
        state.update(data)
        return to_base64(state.digest(), newline=False)[:22], b""

    return digest


def _start(prefix: bytes) -> Callable[[], hashlib.blake2b]:
    """Makes hash states for one use; a copy is cheaper than a new state.

    Uses are told apart by BLAKE2's own parameter for that (RFC 7693, the salt and person of its
    parameter block), so that short content needs no second block.
    """
    person = hashlib.blake2b(prefix, digest_size=16).digest()
    return hashlib.blake2b(digest_size=DIGEST_BYTES, person=person).copy


def _hashing(
    function: Callable[[bytes], bytes] | None, kind: bytes, queue: str, type_name: str
) -> Callable[[bytes], bytes]:
    prefix = _prefix(kind, queue, type_name)
    if function is None:
        start = _start(prefix)

        def blake(data: bytes) -> bytes:
            state = start()
            state.update(data)
            return _text(state.digest())

        return blake

    def custom(data: bytes) -> bytes:
        try:
            digest = function(prefix + data)
            if len(digest) >= DIGEST_BYTES:
                return _text(_folded(digest))
            reason = f"returned {len(digest)} bytes, fewer than {DIGEST_BYTES}"
        except Exception as error:  # noqa: BLE001
            reason = f"raised {type(error).__name__}"
        raise PayloadError(f"queue {queue!r}: Dedup(hash=...) {reason}", queue=queue)

    return custom


def _text(digest: bytes) -> bytes:
    return binascii.b2a_base64(digest, newline=False)[:DIGEST_CHARS]


def _folded(digest: bytes) -> bytes:
    """16 bytes of a digest of 16 or more."""
    if len(digest) == DIGEST_BYTES:
        return digest
    return hashlib.blake2b(digest, digest_size=DIGEST_BYTES).digest()


def _probe(function: Callable[[bytes], bytes]) -> None:
    """Tries a hash: unlike payloads must not be taken for equal because a digest is short."""
    try:
        first, second = function(b"typed_rmq"), function(b"typed_rmq")
    except Exception as error:
        raise ConfigError(f"Dedup(hash=...) raised {type(error).__name__} for 9 bytes") from error
    if not isinstance(cast("object", first), bytes):
        raise ConfigError(f"Dedup(hash=...) must return bytes, not {type(first).__name__}")
    if len(first) < DIGEST_BYTES:
        raise ConfigError(
            f"Dedup(hash=...) must return 16 bytes or more, got {len(first)}: shorter digests "
            "collide, and unlike payloads would be dropped as duplicates"
        )
    if first != second:
        raise ConfigError("Dedup(hash=...) must return the same for the same bytes")


def _checked_fields(fields: Iterable[str]) -> tuple[str, ...]:
    if isinstance(fields, str):
        raise ConfigError(f"Dedup(fields=...) takes names: fields=({fields!r},)")
    names = tuple(fields)
    given = cast("tuple[object, ...]", names)
    if not names or not all(isinstance(name, str) and name for name in given):
        raise ConfigError("Dedup(fields=...) takes one name or more")
    if len(set(names)) != len(names):
        raise ConfigError("Dedup(fields=...) names a field twice")
    return names
