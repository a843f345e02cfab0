"""Authenticated encryption of payloads with AES-GCM (NIST SP 800-38D).

Layout: one byte version, four bytes key id, twelve bytes random nonce, ciphertext, tag.
The message's id and the head are authenticated too, so that a payload cannot be moved to
another message. With random nonces one key is good for 2**32 messages: rotate before that.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Protocol, cast

from ..errors import ConfigError
from .extras import optional
from .problems import Unreadable
from .protocol import Serializer, SerializerFactory, Wrapper

__all__ = ["Encrypted"]

_VERSION = b"\x01"
_ID = slice(1, 5)
_NONCE = slice(5, 17)
_HEAD = 17
_TAG = 16


class _Cipher(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...


class Encrypted:
    """Encrypts what ``inner`` writes. Needs the extra ``encryption``.

    Headers, priority, and times of a message are not encrypted; its payload is, so that
    whoever can read Redis cannot read it, and whoever can write cannot forge it. With
    deduplication on, a digest of the payload is stored next to it: for payloads that could be
    guessed, use ``dedup_key=``, or ``Dedup(hash=...)`` with a keyed hash.

    To rotate: add the new key behind the old one everywhere, then put it first, and drop the
    old one when no message needs it. To start encrypting a queue that has messages, let the
    consumers accept plain ones for a while.

    Args:
        inner: the serializer or wrapper whose bytes are encrypted.
        keys: 16, 24, or 32 random bytes each (``os.urandom(32)``). The first one encrypts,
            all of them decrypt.
        accept_plain: also read messages that are not encrypted. Off by default, as whoever
            can write to Redis could forge such a message.

    Raises:
        ConfigError: the library is not installed, there is no key, or one has a wrong length.

    Example:
        >>> from typed_rmq.serializers.json import Json
        >>> Encrypted(Json(), keys=[os.urandom(32)])
        Encrypted(Json(), keys=<1 key>)
    """

    __slots__ = ("_ciphers", "_first", "_inner", "_invalid", "accept_plain")

    suffix = "+aesgcm"

    def __init__(
        self,
        inner: Serializer[object] | SerializerFactory | Wrapper,
        keys: Sequence[bytes],
        *,
        accept_plain: bool = False,
    ) -> None:
        given: object = keys  # one key alone is a sequence too, of ints
        if isinstance(given, bytes | bytearray | str) or not keys:
            raise ConfigError("keys must be a list of one key or more, each of them bytes")
        aead = optional(
            "cryptography.hazmat.primitives.ciphers.aead",
            extra="encryption",
            needed_by="Encrypted(...)",
        )
        exceptions = optional("cryptography.exceptions", extra="encryption", needed_by="Encrypted")
        self._invalid = cast("type[Exception]", exceptions.InvalidTag)
        self._inner = inner
        self.accept_plain: bool = accept_plain
        ciphers: list[tuple[bytes, _Cipher]] = []
        for number, key in enumerate(cast("Sequence[object]", keys)):
            if not isinstance(key, bytes) or len(key) not in (16, 24, 32):
                raise ConfigError(f"key {number} must be 16, 24, or 32 bytes")
            ciphers.append((_key_id(key), cast("_Cipher", aead.AESGCM(key))))
        self._ciphers = tuple(ciphers)
        self._first = ciphers[0]

    @property
    def content_type(self) -> str:
        """The inner one's, followed by ``+aesgcm``."""
        return self._inner.content_type + self.suffix

    @property
    def inner(self) -> Serializer[object] | SerializerFactory | Wrapper:
        """What writes the bytes that are encrypted."""
        return self._inner

    def wrap(self, data: bytes, message_id: bytes, /) -> bytes:
        """The bytes to store, bound to ``message_id``."""
        key_id, cipher = self._first
        nonce = os.urandom(12)
        head = _VERSION + key_id
        return head + nonce + cipher.encrypt(nonce, data, head + message_id)

    def unwrap(self, data: bytes, message_id: bytes, /) -> bytes:
        """The bytes that were wrapped; ``ValueError`` where no key fits or they were changed."""
        if len(data) < _HEAD + _TAG or data[:1] != _VERSION:
            raise Unreadable("not encrypted by this library: its head is unknown")
        fitting = [cipher for key_id, cipher in self._ciphers if key_id == data[_ID]]
        if not fitting:
            raise Unreadable("encrypted with a key that this consumer does not have")
        for cipher in fitting:  # more than one only where two ids are equal by chance
            try:
                return cipher.decrypt(data[_NONCE], data[_HEAD:], data[:5] + message_id)
            except self._invalid:
                continue
        raise Unreadable("the encrypted data was changed, or belongs to another message")

    def __repr__(self) -> str:
        count = len(self._ciphers)
        return f"Encrypted({self._inner!r}, keys=<{count} key{'s' if count > 1 else ''}>)"

    def __reduce__(self) -> str:
        raise TypeError("Encrypted holds keys and cannot be pickled")


def _key_id(key: bytes) -> bytes:
    """Four bytes that tell keys apart and say nothing of use about them."""
    return hashlib.blake2b(key, digest_size=4, person=b"trmq-key-id").digest()
