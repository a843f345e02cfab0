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
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Final, Protocol, cast

__all__ = ["Stoppable", "unwatch", "watch"]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class Stoppable(Protocol):
    """A running loop."""

    def stop(self) -> None: ...

    def interrupted(self) -> None: ...


# Weakly, all of it: a loop that nobody holds any more must not live on in here, nor the main task
# of asyncio.run() with its exception and whatever that holds.
_watched: list[weakref.ref[Stoppable]] = []
_before: dict[int, Callable[[], Handler]] = {}
_asked: set[int] = set()


def _running() -> list[Stoppable]:
    return [loop for loop in (reference() for reference in list(_watched)) if loop is not None]


def _is_default(handler: Handler) -> bool:
    if handler in (signal.SIG_DFL, signal.default_int_handler):
        return True
    # asyncio.run() installs a handler that cancels the main task: its own form of a default.
    return isinstance(handler, functools.partial) and isinstance(
        getattr(handler.func, "__self__", None), asyncio.Runner
    )


def _remembered(handler: Handler) -> Callable[[], Handler]:
    if not isinstance(handler, functools.partial):
        return lambda: handler
    # asyncio.run() holds its handler until it returns, and then goes back to Python's default.
    found = weakref.ref(cast("Callable[[int, FrameType | None], object]", handler))

    def remembered() -> Handler:
        return found() or signal.default_int_handler

    return remembered


def watch(loop: Stoppable) -> None:
    """Stop this loop at the first signal; does nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    if not _running():
        _watched.clear()
        _asked.clear()
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if _is_default(handler):
                _before[number] = _remembered(handler)
                signal.signal(number, _on_signal)
    _watched.append(weakref.ref(loop))


def unwatch(loop: Stoppable) -> None:
    """The loop has ended; after the last one, the handlers from before are back."""
    left = [reference for reference in list(_watched) if reference() not in (None, loop)]
    if len(left) == len(_watched):
        return
    _watched[:] = left
    if not left and threading.current_thread() is threading.main_thread():
        _restore()


def _restore() -> None:
    for number, handler in _before.items():
        # Somebody else may have put a handler of their own over ours: that one stays.
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, handler())
    _before.clear()


def _on_signal(number: int, frame: FrameType | None) -> None:
    loops = _running()
    # A loop that ends in another thread cannot put the handlers back: then no loop is left here.
    if loops and not _asked:
        _asked.add(number)
        for loop in loops:
            loop.stop()
        return
    for loop in loops:
        loop.interrupted()
    remembered = _before.get(number)
    _restore()
    handler = None if remembered is None else remembered()
    if callable(handler):
        handler(number, frame)
    else:
        # SIGTERM's default ends the process, as it would have without us.
        signal.raise_signal(number)
