"""Waiting until what a call has written is as durable as was asked for.

``WAIT`` and ``WAITAOF`` cover what their own connection has written. A duplicate writes nothing,
and neither does a repeated call: so the lane's key gets another hour first, which is a write, and
one that Redis takes also when it is out of memory.

A connection that breaks meanwhile is not tried again: behind it may be another server by then,
which has the lane and not the message.
"""

from __future__ import annotations

import math
from typing import Final

from ..durability import Durability, Replicas
from ..errors import DurabilityNotReached, ServerUnsupported, TypedRMQError
from ..retry import seconds
from .failures import clean
from .packing import pack_plain

__all__ = ["LATE", "judge", "not_confirmed", "touch", "wait"]

LATE: Final = 5.0
"""Seconds that a reply may come after the wait was over."""


def touch(lane_key: bytes) -> bytes:
    """The write that the wait covers."""
    return pack_plain(b"PEXPIRE", lane_key, 3_600_000)


def wait(durability: Durability) -> tuple[bytes, float]:
    """The wait, and the seconds in which it is answered."""
    limit = seconds(durability.timeout, "timeout")
    ms = max(1, math.ceil(limit * 1000))
    if isinstance(durability, Replicas):
        return pack_plain(b"WAIT", durability.number, ms), limit + LATE
    return pack_plain(b"WAITAOF", 1, 0, ms), limit + LATE


def judge(queue: str, durability: Durability, touched: object, reply: object) -> None:
    """Raise where the wait did not reach what was asked for."""
    if touched != 1:
        raise _missed(queue, durability, "its traces were gone from Redis right after")
    if isinstance(durability, Replicas):
        reached = reply if isinstance(reply, int) else 0
        if reached < durability.number:
            raise _missed(
                queue, durability, f"{reached} of {durability.number} replicas confirmed it in time"
            )
    elif not isinstance(reply, list) or not reply or reply[0] != 1:
        raise _missed(queue, durability, "the disk did not confirm it in time")


def not_confirmed(queue: str, durability: Durability, error: Exception) -> TypedRMQError:
    """What to raise where the wait itself failed."""
    text = str(error)
    if "unknown command" in text.lower():
        return ServerUnsupported(
            f"queue {queue!r}: this server has no WAITAOF, so Fsync() needs Redis 7.2 or later, or "
            "Valkey. The message is stored. With appendfsync always a publish is on disk when it "
            "returns, and Fsync() is not needed",
            queue=queue,
        )
    if "appendonly is disabled" in text:
        return ServerUnsupported(
            f"queue {queue!r}: the server has no append-only file, so nothing is ever on its disk "
            "in time. The message is stored. Set appendonly yes, or leave Fsync() out",
            queue=queue,
        )
    return _missed(queue, durability, clean(text) or type(error).__name__)


def _missed(queue: str, durability: Durability, why: str) -> DurabilityNotReached:
    return DurabilityNotReached(
        f"queue {queue!r}: the message is stored, but {durability} was not reached: {why}. It may "
        "be lost if Redis fails now. To publish again is safe where the queue deduplicates: "
        "nothing is stored twice, and the wait is made anew",
        queue=queue,
    )
