"""The calls that operators steer a queue with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .. import scripts
from ..keys import QueueKeys
from .command import Command, integer_of, items_of, text_of

__all__ = ["PromoteReply", "PurgeReply", "RedriveReply"]


def _status(reply: object) -> str:
    return text_of(items_of(reply)[0])


def control(keys: QueueKeys, lane_key: bytes, n: int, *, paused: bool) -> Command[str]:
    return Command(
        scripts.CONTROL, (lane_key, keys.meta, keys.bell), [n, 1 if paused else 0], _status
    )


class PurgeReply(NamedTuple):
    status: str
    deleted: int
    left: int


def _purge_reply(reply: object) -> PurgeReply:
    status, deleted, left = items_of(reply)
    return PurgeReply(text_of(status), integer_of(deleted), integer_of(left))


def purge(keys: QueueKeys, lane_key: bytes, n: int, *, limit: int = 1000) -> Command[PurgeReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.PURGE,
        (
            lane_key,
            high,
            normal,
            low,
            keys.suspects,
            keys.delayed,
            keys.bell,
            keys.meta,
            keys.room,
            keys.stats,
        ),
        [n, keys.prefix, limit],
        _purge_reply,
    )


class RedriveReply(NamedTuple):
    """``last`` is the stream id of the last letter looked at, ``-`` where there was none."""

    redriven: int
    seen: int
    last: str
    conflicts: tuple[tuple[str, str], ...]


def _redrive_reply(reply: object) -> RedriveReply:
    _, answer = items_of(reply)
    redriven, seen, last, conflicts = text_of(answer).split(" ")
    pairs = (pair.split("=") for pair in conflicts.split(",") if pair)
    return RedriveReply(int(redriven), int(seen), last, tuple((pair[0], pair[1]) for pair in pairs))


def redrive(
    keys: QueueKeys,
    lane_key: bytes,
    n: int,
    *,
    window_ms: int,
    after: str = "-",
    limit: int = 500,
    ids: Sequence[str] = (),
) -> Command[RedriveReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.REDRIVE,
        (lane_key, high, normal, low, keys.dead, keys.dead_ids, keys.bell, keys.meta, keys.stats),
        [n, keys.prefix, window_ms, after, limit, *ids],
        _redrive_reply,
    )


def dead_purge(keys: QueueKeys, lane_key: bytes, n: int) -> Command[int]:
    return Command(
        scripts.DEAD_PURGE,
        (lane_key, keys.dead, keys.dead_ids, keys.stats),
        [n],
        lambda reply: integer_of(items_of(reply)[1]),
    )


class PromoteReply(NamedTuple):
    promoted: int
    seen: int


def _promote_reply(reply: object) -> PromoteReply:
    _, answer = items_of(reply)
    promoted, seen = text_of(answer).split(" ")
    return PromoteReply(int(promoted), int(seen))


def promote(
    keys: QueueKeys, lane_key: bytes, n: int, *, skip: int, limit: int, ids: Sequence[str] = ()
) -> Command[PromoteReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.PROMOTE,
        (lane_key, high, normal, low, keys.delayed, keys.bell, keys.meta),
        [n, skip, limit, *ids],
        _promote_reply,
    )
