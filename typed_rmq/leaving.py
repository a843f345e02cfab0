"""How a bare ``for`` loop was left: by ``break`` or ``return``, or by an exception.

When a loop is left, CPython drops the loop's iterator at once, and its ``__del__`` runs while the
loop's own frame is still the current one. For ``break`` and ``return`` the instruction under way
is the POP_TOP that throws the iterator away; for an exception it is the one that raised. Anything
unclear (another frame, another interpreter, an iterator that outlived its loop) is no: a message
then counts as failed, never as done.
"""

from __future__ import annotations

import opcode
import sys
from typing import Final

__all__ = ["current_frame", "left_by_break"]

_POP_TOP: Final = opcode.opmap.get("POP_TOP", -1)
# From 3.14 on, loops drop their iterator by an instruction of its own.
_POP_ITER: Final = opcode.opmap.get("POP_ITER", -1)
# Documented for CPython, in spite of its name; `inspect` uses it, too.
_frame: Final = sys._getframe  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
_CPYTHON: Final = sys.implementation.name == "cpython"


def current_frame(depth: int) -> int:
    """Names the frame that called the caller's caller, as long as it lives."""
    return id(_frame(depth + 1))


def left_by_break(depth: int, frame: int) -> bool:
    """Whether that frame is the one being left, and leaves its loop by ``break`` or ``return``.

    To be called in a ``__del__``; ``depth`` is the number of frames between.
    """
    if not _CPYTHON:
        return False
    try:
        leaving = _frame(depth + 1)
    except ValueError:
        return False
    if id(leaving) != frame:
        return False
    return leaving.f_code.co_code[leaving.f_lasti] in (_POP_TOP, _POP_ITER)
