"""How payloads become bytes: ``Json`` (the default), ``MsgPack``, ``Compressed``, ``Encrypted``.

One's own serializer is any object with ``content_type`` and ``bind`` (a ``SerializerFactory``),
or one with ``content_type``, ``dumps``, and ``loads`` (a ``Serializer``). ``register`` lets
consumers read what it wrote where it is not the queue's own.
"""

from .compressed import Compressed
from .encrypted import Encrypted
from .json import Json
from .msgpack import MsgPack
from .protocol import Serializer, SerializerFactory, Wrapper
from .registry import register

__all__ = [
    "Compressed",
    "Encrypted",
    "Json",
    "MsgPack",
    "Serializer",
    "SerializerFactory",
    "Wrapper",
    "register",
]
