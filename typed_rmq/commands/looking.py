"""The calls that look at a queue and change nothing."""

from __future__ import annotations

from typing import NamedTuple

from .. import scripts
from ..keys import QueueKeys
from ..results import State
from .command import Command, bytes_of, integer_of, items_of, text_of

__all__ = ["DeadEntry", "StatsReply"]


class DeadEntry(NamedTuple):
    """One dead letter as it lies in the stream."""

    at: str
    envelope: bytes
    reason: str
    error: str | None
    traceback: str | None


def _dead_entries(reply: object) -> list[DeadEntry]:
    entries: list[DeadEntry] = []
    for item in items_of(reply):
        at, flat = items_of(item)
        pieces = [bytes_of(piece) for piece in items_of(flat)]
        fields = dict(zip(pieces[::2], pieces[1::2], strict=True))
        error, traceback = fields.get(b"x"), fields.get(b"t")
        entries.append(
            DeadEntry(
                text_of(at),
                fields.get(b"e", b""),
                fields.get(b"r", b"").decode("utf-8", "replace"),
                None if error is None else error.decode("utf-8", "replace"),
                None if traceback is None else traceback.decode("utf-8", "replace"),
            )
        )
    return entries


def dead_read(
    keys: QueueKeys, *, message_id: str = "", after: str = "-", limit: int = 100
) -> Command[list[DeadEntry]]:
    return Command(
        scripts.DEAD_READ, (keys.dead, keys.dead_ids), [message_id, after, limit], _dead_entries
    )


class StatsReply(NamedTuple):
    ready: int
    delayed: int
    in_flight: int
    dead: int
    done: int
    oldest_ms: int
    consumers: int
    paused: bool
    counters: dict[str, int]


def _stats_reply(reply: object) -> StatsReply:
    *numbers, paused, flat = items_of(reply)
    ready, delayed, in_flight, dead, done, oldest, consumers = (integer_of(n) for n in numbers)
    pieces = [text_of(piece) for piece in items_of(flat)]
    counters = {name: int(value) for name, value in zip(pieces[::2], pieces[1::2], strict=True)}
    return StatsReply(
        ready, delayed, in_flight, dead, done, oldest, consumers, paused == 1, counters
    )


def stats(keys: QueueKeys) -> Command[StatsReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.STATS,
        (
            high,
            normal,
            low,
            keys.suspects,
            keys.delayed,
            keys.sessions,
            keys.dead,
            keys.done,
            keys.meta,
            keys.stats,
        ),
        [keys.prefix],
        _stats_reply,
    )


def seen(reply: object) -> list[tuple[bytes, ...]]:
    """Messages as ``peek`` and ``find`` return them."""
    return [tuple(bytes_of(piece) for piece in items_of(item)) for item in items_of(reply)]


def peek(
    keys: QueueKeys, *, state: State, limit: int, after: str = ""
) -> Command[list[tuple[bytes, ...]]]:
    """Reply: an envelope each, and what ``peek.lua`` knows beside it."""
    high, normal, low = keys.ready
    return Command(
        scripts.PEEK,
        (high, normal, low, keys.suspects, keys.delayed, keys.sessions, keys.dead, keys.done),
        [keys.prefix, state, limit, after],
        seen,
    )
