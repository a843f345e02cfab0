"""A call of a script, and how what a script returns is read: lists of bytes and integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, cast

from ..scripts import Script

R = TypeVar("R", covariant=True)

Arg = bytes | str | int

FULL: Final = "full"

__all__ = ["FULL", "Arg", "Command"]


@dataclass(slots=True)
class Command(Generic[R]):
    """One call of a script.

    Its keys are ``fixed``, those of many calls alike, and ``more``, those of this one.
    ``full_at`` is the position of the argument that lets the script pass when Redis is out of
    memory, where it is ``FULL``; without one, such a refusal is the answer (``QueueFull``).
    """

    script: Script
    fixed: tuple[bytes, ...]
    args: list[Arg]
    parse: Callable[[object], R]
    full_at: int | None = None
    more: Sequence[bytes] = ()

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All of the keys."""
        return (*self.fixed, *self.more)


def items_of(reply: object) -> list[object]:
    if not isinstance(reply, list):
        raise ValueError("a script's reply is not a list")
    return cast("list[object]", reply)


def integer_of(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("a script's reply has no number where one belongs")
    return value


def text_of(value: object) -> str:
    if not isinstance(value, bytes):
        raise ValueError("a script's reply has no text where one belongs")
    return value.decode()


def bytes_of(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a script's reply has no text where one belongs")
    return value
