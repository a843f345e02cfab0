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
_CACHE: Final = opcode.opmap.get("CACHE", 0)
# After these the top of the stack is what it was before, so that a POP_TOP throws the iterator
# away. After anything else, such as a CALL, it drops a value that was just made: an iterator that
# was kept in a list outlives its loop and ends so, in any frame. From 3.13 on, END_FOR is followed
# by a POP_TOP of its own, for loops that have come to their end.
_KEEP_THE_TOP: Final = (
    *("DELETE_", "JUMP_", "NOP", "NOT_TAKEN", "POP_", "RAISE_", "RERAISE", "RETURN_", "STORE_"),
    *("SWAP", "END_ASYNC_FOR", "END_FOR" if sys.version_info < (3, 13) else "END_ASYNC_FOR"),
)
_MAY_PRECEDE: Final = frozenset(
    code for name, code in opcode.opmap.items() if name.startswith(_KEEP_THE_TOP)
)
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
    code, at = leaving.f_code.co_code, leaving.f_lasti
    if code[at] not in (_POP_TOP, _POP_ITER):
        return False
    before = at - 2
    while before > 0 and code[before] == _CACHE:
        before -= 2
    return code[before] in _MAY_PRECEDE
