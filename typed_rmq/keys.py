"""The names of a queue's keys in Redis.

Every key is ``trmq:{name}:...``: the braces make one Cluster slot of a queue. A name is checked
once, here, so that nothing else ever meets a brace, a newline, or a NUL in it.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import ConfigError
from .results import Priority

__all__ = ["PRIORITIES", "QueueKeys", "check_name"]

PRIORITIES: Final[tuple[Priority, Priority, Priority]] = ("high", "normal", "low")

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def check_name(name: object) -> str:
    """The queue's name, if it is one; else ``ConfigError``."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise ConfigError(
        f"{name!r:.200} is no queue name: use 1 to 128 of the characters A-Z a-z 0-9 . _ : -"
    )


class QueueKeys:
    """The keys of one queue, made once."""

    __slots__ = (
        "bell",
        "dead",
        "dead_ids",
        "dedup",
        "delayed",
        "done",
        "meta",
        "name",
        "prefix",
        "ready",
        "room",
        "sessions",
        "stats",
        "suspects",
    )

    def __init__(self, name: str) -> None:
        self.name: str = check_name(name)
        self.prefix: bytes = f"trmq:{{{name}}}:".encode()
        self.ready: tuple[bytes, bytes, bytes] = (
            self._key(b"ready:high"),
            self._key(b"ready:normal"),
            self._key(b"ready:low"),
        )
        self.suspects: bytes = self._key(b"suspects")
        self.delayed: bytes = self._key(b"delayed")
        self.sessions: bytes = self._key(b"sessions")
        self.dead: bytes = self._key(b"dead")
        self.dead_ids: bytes = self._key(b"dead:ids")
        self.dedup: bytes = self._key(b"dedup:")
        self.done: bytes = self._key(b"done")
        self.bell: bytes = self._key(b"bell")
        self.room: bytes = self._key(b"room")
        self.meta: bytes = self._key(b"meta")
        self.stats: bytes = self._key(b"stats")

    def _key(self, suffix: bytes) -> bytes:
        return self.prefix + suffix

    def lane(self, lane: bytes) -> bytes:
        """Where the last operation of one producer or session is remembered."""
        return self.prefix + b"lane:" + lane

    def inflight(self, session: bytes) -> bytes:
        """What one consumer session holds."""
        return self.prefix + b"inflight:" + session
