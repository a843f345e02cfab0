"""Writes the seed corpus: ``python -m tests.fuzz.seeds``. The files are kept in the repository."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.target import CODECS, CONTENT_TYPES, Order
from typed_rmq import wire

CORPUS = Path(__file__).with_name("corpus")
ID = b"a" * 24


def seeds() -> dict[str, bytes]:
    """One valid envelope per format, and ways to damage the head."""
    found: dict[str, bytes] = {}
    for number, codec in enumerate(CODECS):
        payload: object = {"order_id": 1, "sku": "A"}
        if number < len(CODECS) // 2:
            payload = Order(order_id=1, sku="A", tags=["x"])
        _, data = codec.prepare(payload)
        stored = codec.seal(data, ID)
        kind = None if codec.content_type == "application/json" else codec.content_type
        headers = wire.encode_headers({"trace": "1"}, kind)
        start = wire.build_start("normal", b"W", headers)
        found[f"envelope-{number}"] = b"11700000000000" + wire.build(
            start, ID, b"d" * 44, headers, stored
        )
        found[f"payload-{number}"] = bytes([CONTENT_TYPES.index(codec.content_type)]) + stored
    plain = found["envelope-0"]
    for name, at, new in (
        ("negative-length", 21, b"-001"),
        ("underscored-length", 21, b"0_01"),
        ("spaced-attempt", 17, b" 1  "),
        ("negative-time", 1, b"-999999999999"),
        ("long-headers", 21, b"ffff"),
        ("unknown-mode", 16, b"?"),
        ("newline-in-id", 25, b"\n" * 24),
    ):
        found[name] = plain[:at] + new + plain[at + len(new) :]
    found["no-envelope"] = b"not one of ours"
    found["deep"] = b"\0" + b"[" * 3000
    found["empty"] = b""
    return found


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for name, data in seeds().items():
        (CORPUS / name).write_bytes(data)
