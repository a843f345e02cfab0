"""What must hold for any bytes that somebody put into a queue.

- Reading an envelope or its headers gives a result or ``BadEnvelope``, nothing else.
- The parts of an envelope lie in order and within it, and its time is a time.
- Headers that were read can be written and read again.
- Opening a payload gives a value or ``Undecodable``, in every format.

Plain code, so that the corpus runs on every Python; ``python -m tests.fuzz`` drives it by Atheris.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter

from typed_rmq import Compressed, Encrypted, Json, MsgPack, wire
from typed_rmq.serializers.codec import Codec, Undecodable

__all__ = ["CONTENT_TYPES", "one_input"]


class Order(BaseModel):
    order_id: int
    sku: str
    price: float | None = None
    tags: list[str] = []


KEY = b"k" * 32
LIMIT = 4096
"""Bytes of a payload: small, so that 'too large' is found too, and so that runs are fast."""

CODECS: list[Codec[Any]] = [
    Codec(TypeAdapter(tp), serializer, queue="fuzz", max_payload=LIMIT)
    for tp in (Order, dict[str, Any])
    for serializer in (
        Json(),
        MsgPack(),
        Compressed(Json()),
        Encrypted(Compressed(Json()), keys=[KEY], accept_plain=True),
    )
]

CONTENT_TYPES = (
    None,
    *sorted({codec.content_type for codec in CODECS}),
    "application/json+zstd+zstd",
    "text/plain",
    "",
)


def _open(content_type: str | None, payload: bytes, message_id: bytes) -> None:
    for codec in CODECS:
        try:
            codec.open(content_type, payload, message_id)
        except Undecodable as refused:
            assert refused.reason


def one_input(data: bytes) -> None:
    """Raises where something does not hold."""
    # Bytes that are no envelope still reach the payload decoders, by their first byte.
    if data:
        _open(CONTENT_TYPES[data[0] % len(CONTENT_TYPES)], data[1:], b"id")
    try:
        head = wire.parse(data)
    except wire.BadEnvelope:
        return
    assert wire.HEAD <= head.headers_at <= head.payload_at <= len(data), head
    wire.timestamp(head.published_ms)
    try:
        headers = wire.decode_headers(data[head.headers_at : head.payload_at])
    except wire.BadEnvelope:
        return
    assert wire.decode_headers(wire.encode_headers(headers.user, headers.content_type)) == headers
    _open(headers.content_type, data[head.payload_at :], head.id.encode())
