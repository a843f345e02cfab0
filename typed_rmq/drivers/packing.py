"""Commands as the bytes that Redis reads.

Written here rather than by hiredis, which takes twice as long: most of a call is the same each
time, and what is known is packed once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeVar

from ..commands import Arg, Command
from ..scripts import Script

R = TypeVar("R")

__all__ = ["pack_command", "pack_plain", "pack_wait"]


_ARGUMENT: Final = b"$%d\r\n%b\r\n"


def pack_command(command: Command[R], *, source: bool = False) -> bytes:
    """EVALSHA, or EVAL with the script's text where the server does not know it."""
    fixed, more, args = command.fixed, command.more, command.args
    head = _head(command.script, fixed, len(more), len(args), source)
    return head + _arguments([*more, *[a if type(a) is bytes else _written(a) for a in args]])


def pack_wait(bell: bytes, seconds: float) -> bytes:
    """The blocking wait for a ring. It takes a token off the bell and never work."""
    return b"*3\r\n" + _arguments([b"BLPOP", bell, b"%.3f" % seconds])


def pack_plain(*words: str | bytes | int) -> bytes:
    """A command of Redis's own."""
    return b"*%d\r\n" % len(words) + _arguments([_written(word) for word in words])


@lru_cache(maxsize=1024)
def _head(script: Script, fixed: tuple[bytes, ...], more: int, args: int, source: bool) -> bytes:
    """All that comes before the keys and arguments of this very call."""
    keys = len(fixed) + more
    command, what = (b"EVAL", script.source) if source else (b"EVALSHA", script.sha)
    return b"*%d\r\n" % (3 + keys + args) + _arguments([command, what, b"%d" % keys, *fixed])


def _arguments(items: list[bytes]) -> bytes:
    # In one formatting: each one costs two microseconds by itself.
    return (_ARGUMENT * len(items)) % tuple([part for item in items for part in (len(item), item)])


def _written(arg: Arg) -> bytes:
    return arg if isinstance(arg, bytes) else str(arg).encode()
