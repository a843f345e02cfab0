"""What is sent: the model of ``benchmarks.payload`` as a dict, in three sizes. No third party."""

from __future__ import annotations

import json
import os

__all__ = ["SIZES", "Items", "as_json"]

SIZES = {"order": 107, "1k": 1024, "64k": 65536}
"""Payload -> bytes of its JSON."""

_NOTE = "gift wrap, leave with neighbours if out."


class Items:
    """An endless supply of orders, each one different. No two processes make the same ones."""

    def __init__(self) -> None:
        # Nine digits from the beginning, so that all are of one length.
        self._last = 100_000_000 + os.getpid() % 800 * 1_000_000

    def dicts(self, n: int, size: str) -> list[dict[str, int | str]]:
        first = self._last + 1
        self._last += n
        note = _NOTE + "." * (SIZES[size] - SIZES["order"])
        return [
            {"order_id": number, "sku": f"SKU-{number}", "quantity": 3, "note": note}
            for number in range(first, first + n)
        ]


def as_json(item: dict[str, int | str]) -> bytes:
    """The very bytes that Pydantic makes of the model."""
    return json.dumps(item, separators=(",", ":")).encode()
