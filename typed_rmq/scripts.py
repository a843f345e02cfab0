"""The Lua scripts: loaded from ``lua/``, their includes put in, their hash taken once.

A script's header says what its KEYS, ARGV, and reply are; a test compares it with
``typed_rmq/commands/``. ``-- include: a b`` is replaced by files of ``lua/lib``, which define
local functions and nothing else; only ``short`` is a piece of the one script that it belongs to.
Redis makes these functions anew in every call, at up to half a microsecond each: what only a rare
branch needs is included in that branch.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import Final

__all__ = [
    "AUDIT",
    "CHECKUP",
    "CONSUMERS",
    "CONTROL",
    "CYCLE",
    "DEAD_PURGE",
    "DEAD_READ",
    "ENQUEUE",
    "FIND",
    "PEEK",
    "PROMOTE",
    "PUBLISH",
    "PURGE",
    "REAP",
    "REDRIVE",
    "RENEW",
    "STATS",
    "Script",
]

_INCLUDE = re.compile(r"^ *-- include:(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """One script: its name, source with includes, and the hash that EVALSHA takes."""

    name: str
    source: bytes = field(repr=False)
    sha: bytes = field(repr=False)


def _load(name: str) -> Script:
    folder = resources.files("typed_rmq") / "lua"
    body = (folder / f"{name}.lua").read_text("utf-8")

    def included(found: re.Match[str]) -> str:
        names = found.group(1).split()
        return "\n".join((folder / "lib" / f"{one}.lua").read_text("utf-8") for one in names)

    source = _INCLUDE.sub(included, body).encode()
    # Redis names scripts by their SHA-1; nothing here relies on its strength.
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


ENQUEUE: Final = _load("enqueue")
PUBLISH: Final = _load("publish")
CYCLE: Final = _load("cycle")
REAP: Final = _load("reap")
RENEW: Final = _load("renew")
CONTROL: Final = _load("control")
PURGE: Final = _load("purge")
REDRIVE: Final = _load("redrive")
DEAD_PURGE: Final = _load("dead_purge")
DEAD_READ: Final = _load("dead_read")
STATS: Final = _load("stats")
PEEK: Final = _load("peek")
FIND: Final = _load("find")
CONSUMERS: Final = _load("consumers")
PROMOTE: Final = _load("promote")
AUDIT: Final = _load("audit")
CHECKUP: Final = _load("checkup")
