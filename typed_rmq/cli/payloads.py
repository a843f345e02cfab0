"""Payloads as JSON, whatever they were stored as."""

from __future__ import annotations

import base64
import json
from typing import cast

from pydantic_core import PydanticSerializationError, to_jsonable_python

from typed_rmq import DeadLetter, Peeked

__all__ = ["payload_bytes", "payload_fields", "payload_text"]

Item = Peeked[object] | DeadLetter[object]


def payload_bytes(item: Item) -> bytes | None:
    """The payload as JSON in one line, byte for byte as stored where that is what was stored.

    ``None`` where it cannot be read here: other bytes, encrypted, or not of the model.
    """
    raw = item.raw
    try:
        # Only a check: what is shown are the bytes, as a parsed number may have lost digits.
        json.loads(raw)
    except (ValueError, RecursionError):
        pass
    else:
        return raw if b"\n" not in raw else raw.replace(b"\r", b"").replace(b"\n", b"")
    if item.payload is None:
        return None
    try:
        return json.dumps(to_jsonable_python(item.payload)).encode()
    except (PydanticSerializationError, ValueError, RecursionError):
        return None


def payload_text(item: Item) -> str:
    """For people."""
    data = payload_bytes(item)
    if data is None:
        return f"({len(item.raw)} bytes that cannot be read here)"
    return data.decode("utf-8", "backslashreplace")


def payload_fields(item: Item) -> dict[str, object]:
    """For programs: ``payload``, or ``raw`` in base64 where it cannot be read."""
    data = payload_bytes(item)
    if data is None:
        return {"payload": None, "raw": base64.b64encode(item.raw).decode()}
    return {"payload": cast("object", json.loads(data))}
