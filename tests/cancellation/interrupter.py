"""A KeyboardInterrupt right before a line of the library, as the signal's handler raises it."""

from __future__ import annotations

import dis
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import typed_rmq

__all__ = ["Interrupter", "Place"]

LIBRARY = str(Path(typed_rmq.__file__).parent)

LOAD_CONST, NOP, SWAP = (dis.opmap[name] for name in ("LOAD_CONST", "NOP", "SWAP"))

Place = tuple[str, int]
"""A file and a line."""


class Interrupter:
    """``with Interrupter(place, hit):`` raises when the place is come by for the ``hit``-th time.

    Without a place it only notes, in ``seen``, how often each line was come by. Only lines of this
    thread count: Python runs the handlers of signals in the main thread.
    """

    def __init__(self, place: Place | None = None, hit: int = 1) -> None:
        self.place = place
        self.left = hit
        self.seen: dict[Place, int] = {}
        self.raised = False

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(LIBRARY) else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event != "line":
            return self._line
        place = (frame.f_code.co_filename, frame.f_lineno)
        if self.place is None:
            if not _no_signal_here(frame):
                self.seen[place] = self.seen.get(place, 0) + 1
        elif place == self.place and not _no_signal_here(frame):
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                # What runs while an object is let go cannot raise: Python would only report it.
                if not _letting_go(frame):
                    self.raised = True
                    raise KeyboardInterrupt
        return self._line

    def __enter__(self) -> Interrupter:
        sys.settrace(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)


def _no_signal_here(frame: FrameType) -> bool:
    """Whether Python handles no signal before this line, so that its compiler takes no care of one.

    Such is the line of a ``try``, where nothing is done, and that of a ``with`` when it comes once
    more, behind its body, to call ``__exit__(None, None, None)``.
    """
    code, at = frame.f_code.co_code, frame.f_lasti
    if code[at] == SWAP:  # what is returned out of the `with` goes below
        at += 2
    one = code[at : at + 2]
    return one[0] == NOP or (one[0] == LOAD_CONST and code[at : at + 6] == one * 3)


def _letting_go(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
