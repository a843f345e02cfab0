"""The calls that look: for one message by its id, at the consumers, and at a queue's health.

As in ``commands/``, each function is the one place where a script's KEYS and ARGV are put in
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from . import scripts, wire
from .commands import Command, seen
from .keys import QueueKeys
from .results import State

__all__ = ["AuditReply", "CheckupReply", "FindReply", "SessionReply"]


class FindReply(NamedTuple):
    """``after`` is where to go on, "" at the end; ``found`` is as in ``peek``."""

    after: str
    found: list[tuple[bytes, ...]]


def _find_reply(reply: object) -> FindReply:
    after, found = cast("tuple[bytes, object]", reply)
    return FindReply(after.decode(), seen(found))


def find(
    keys: QueueKeys, *, state: State, message_id: str, after: str = "", limit: int = 1000
) -> Command[FindReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.FIND,
        (
            high,
            normal,
            low,
            keys.suspects,
            keys.delayed,
            keys.sessions,
            keys.dead,
            keys.dead_ids,
            keys.done,
        ),
        [keys.prefix, state, message_id, after, limit],
        _find_reply,
    )


class SessionReply(NamedTuple):
    """One item of ``consumers.lua``."""

    session: str
    left_ms: int
    held: int
    ids: tuple[str, ...]


def _consumers_reply(reply: object) -> list[SessionReply]:
    return [
        SessionReply(
            wire.shown(session),
            left,
            held,
            tuple(wire.shown(one) for one in ids),
        )
        for session, left, held, ids in cast("list[tuple[bytes, int, int, list[bytes]]]", reply)
    ]


def consumers(keys: QueueKeys, *, limit: int, some: int) -> Command[list[SessionReply]]:
    return Command(
        scripts.CONSUMERS, (keys.sessions,), [keys.prefix, limit, some], _consumers_reply
    )


class CheckupReply(NamedTuple):
    """``known`` says whether the server can tell of rights; ``wrong`` are names of keys."""

    known: bool
    missing: tuple[str, ...]
    wrong: tuple[str, ...]


def checkup(keys: QueueKeys, *, words: Sequence[str]) -> Command[CheckupReply]:
    """Which of these commands the user lacks a right to, and which keys are of the wrong type."""
    looked_at = (
        *keys.ready,
        keys.suspects,
        keys.bell,
        keys.room,
        keys.delayed,
        keys.sessions,
        keys.meta,
        keys.stats,
        keys.dead_ids,
        keys.dead,
        keys.done,
    )

    def parse(reply: object) -> CheckupReply:
        known, missing, wrong = cast("tuple[int, list[bytes], list[int]]", reply)
        return CheckupReply(
            known == 1,
            tuple(one.decode() for one in missing),
            tuple(looked_at[at - 1].decode() for at in wrong),
        )

    return Command(scripts.CHECKUP, looked_at, list(words), parse)


_Bytes = list[bytes]
_Audited = tuple[int, list[int], list[int], _Bytes, list[_Bytes], _Bytes, _Bytes, _Bytes, bytes]


class AuditReply(NamedTuple):
    """As in ``audit.lua``; ``places`` and ``sizes`` by the position of their key, from one."""

    total: int
    sizes: dict[int, int]
    wrong: tuple[str, ...]
    counters: dict[str, str]
    places: dict[int, list[tuple[bytes, str]]]
    unheld: tuple[str, ...]
    unindexed: tuple[str, ...]
    dangling: tuple[str, ...]
    after: str


def audit(keys: QueueKeys, *, limit: int, place: int = 0, after: str = "") -> Command[AuditReply]:
    looked_at = (
        *keys.ready,
        keys.suspects,
        keys.delayed,
        keys.sessions,
        keys.dead,
        keys.dead_ids,
        keys.done,
        keys.stats,
        keys.bell,
    )

    def parse(reply: object) -> AuditReply:
        total, sizes, wrong, counters, places, unheld, unindexed, dangling, go_on = cast(
            "_Audited", reply
        )
        values = [_readable(one) for one in counters]
        return AuditReply(
            total,
            dict(enumerate(sizes, 1)),
            tuple(looked_at[at - 1].decode() for at in wrong),
            dict(zip(values[::2], values[1::2], strict=True)),
            {
                at: list(zip(found[::2], map(_readable, found[1::2]), strict=True))
                for at, found in enumerate(places, 1)
            },
            tuple(map(_readable, unheld)),
            tuple(map(_readable, unindexed)),
            tuple(map(_readable, dangling)),
            go_on.decode(),
        )

    return Command(scripts.AUDIT, looked_at, [keys.prefix, limit, place, after], parse)


def _readable(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")
