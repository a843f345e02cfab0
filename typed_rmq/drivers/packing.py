"""Commands as the bytes that Redis reads."""

from __future__ import annotations

from typing import TypeVar

import hiredis

from ..commands import Command

R = TypeVar("R")

__all__ = ["pack_command", "pack_wait"]


def pack_command(command: Command[R], *, source: bool = False) -> bytes:
    """EVALSHA, or EVAL with the script's text where the server does not know it."""
    script = command.script
    if source:
        head: tuple[bytes | str | int, ...] = (b"EVAL", script.source, len(command.keys))
    else:
        head = (b"EVALSHA", script.sha, len(command.keys))
    return hiredis.pack_command((*head, *command.keys, *command.args))


def pack_wait(bell: bytes, seconds: float) -> bytes:
    """The blocking wait for a ring. It takes a token off the bell and never work."""
    return hiredis.pack_command((b"BLPOP", bell, f"{seconds:.3f}"))
