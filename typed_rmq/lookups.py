"""The calls that look for something: one message by its id, and the consumers of a queue.

As in ``commands.py``, each function is the one place where a script's KEYS and ARGV are put in
order.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from . import scripts
from .commands import Command, seen
from .keys import QueueKeys
from .results import State

__all__ = ["FindReply", "SessionReply"]


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
            session.decode("ascii", "replace"),
            left,
            held,
            tuple(one.decode("ascii", "replace") for one in ids),
        )
        for session, left, held, ids in cast("list[tuple[bytes, int, int, list[bytes]]]", reply)
    ]


def consumers(keys: QueueKeys, *, limit: int, some: int) -> Command[list[SessionReply]]:
    return Command(
        scripts.CONSUMERS, (keys.sessions,), [keys.prefix, limit, some], _consumers_reply
    )
