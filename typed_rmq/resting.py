"""Which lanes keep their connection while no call is made in them.

To give a connection back after each call and to ask the pool for one again costs a good part of the
call. So lanes keep theirs; but ten thousand queues that share a pool must not hold ten thousand
connections for what they did an hour ago. Beyond a number, the lane that has had its connection for
longest gives it back, unless it is in use just then, and asks for one when it is used again.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Final, Generic, TypeVar

H = TypeVar("H")

__all__ = ["MAX_RESTING", "Resting"]

MAX_RESTING: Final = 64
"""Connections of one pool that rest in lanes."""

TRIES: Final = 2
"""How many are asked for theirs when one comes: where many were in use at once, the number goes
down again afterwards."""


class Resting(Generic[H]):
    """The hands of one pool that have a connection, in the order in which they got it.

    It keeps none of them alive, and any number of threads may use it.
    """

    def __init__(self) -> None:
        self._hands: deque[weakref.ref[H]] = deque()

    def enter(self, hand: H) -> list[H]:
        """This one gets a connection; those that are returned should give back theirs."""
        self._hands.append(weakref.ref(hand))
        asked: list[H] = []
        for _ in range(min(TRIES, len(self._hands) - MAX_RESTING)):
            try:
                first = self._hands.popleft()()
            except IndexError:  # other threads were faster
                break
            if first is not None:
                asked.append(first)
        return asked

    def keep(self, hand: H) -> None:
        """It is in use, and was asked in vain."""
        self._hands.append(weakref.ref(hand))
