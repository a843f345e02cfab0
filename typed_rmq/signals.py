"""SIGINT and SIGTERM end loops after the message in hand.

The handlers are installed while a loop runs in the main thread, and only over Python's own
defaults (or asyncio's Ctrl-C handler): an application that handles signals itself keeps doing so
and calls ``stop()``. The second signal is passed on to what was there before, at once.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final, Protocol

__all__ = ["Stoppable", "unwatch", "watch"]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class Stoppable(Protocol):
    """A running loop."""

    def stop(self) -> None: ...

    def interrupted(self) -> None: ...


_watched: list[Stoppable] = []
_before: dict[int, Handler] = {}
_asked: set[int] = set()


def _is_default(handler: Handler) -> bool:
    if handler in (signal.SIG_DFL, signal.default_int_handler):
        return True
    # asyncio.run() installs a handler that cancels the main task: its own form of a default.
    return isinstance(handler, functools.partial) and isinstance(
        getattr(handler.func, "__self__", None), asyncio.Runner
    )


def watch(loop: Stoppable) -> None:
    """Stop this loop at the first signal; does nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    if not _watched:
        _asked.clear()
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if _is_default(handler):
                _before[number] = handler
                signal.signal(number, _on_signal)
    _watched.append(loop)


def unwatch(loop: Stoppable) -> None:
    """The loop has ended; after the last one, the handlers from before are back."""
    if loop not in _watched:
        return
    _watched.remove(loop)
    if not _watched and threading.current_thread() is threading.main_thread():
        _restore()


def _restore() -> None:
    for number, handler in _before.items():
        # Somebody else may have put a handler of their own over ours: that one stays.
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, handler)
    _before.clear()


def _on_signal(number: int, frame: FrameType | None) -> None:
    # A loop that ends in another thread cannot put the handlers back: then no loop is left here.
    if _watched and not _asked:
        _asked.add(number)
        for loop in list(_watched):
            loop.stop()
        return
    for loop in list(_watched):
        loop.interrupted()
    handler = _before.get(number)
    _restore()
    if callable(handler):
        handler(number, frame)
    else:
        # SIGTERM's default ends the process, as it would have without us.
        signal.raise_signal(number)
