"""Publishes of several threads that leave together: see ``grouping.py``.

Whoever may begin a call leads: it takes on all that wait, sends the call, and tells the others.
How many are at it is a hint and no lock: what must be exact, who takes whom, is one
``dict.setdefault``. So an exception out of nowhere, such as a KeyboardInterrupt, costs a wait of
``PATIENCE`` at the worst; and the call of a leader that was interrupted is repeated, with the same
number, by one of those that it took on.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from .commands import Command, PublishReply
from .grouping import ALONE, PATIENCE, Alone, Flight, Outcome, Parcel
from .producer import Batch, Lane

__all__ = ["Call", "Group", "Ticket"]

Call = Callable[[Callable[[Lane], Command[PublishReply]]], PublishReply]

AT_ONCE: Final = 4
"""Calls at once before others wait. Python runs one thread at a time, and to wake one up costs as
much as a call: a few threads are faster each for itself, and many of them together."""

LONGEST: Final = 60.0
"""Seconds after which one that was taken on sees to its message itself."""


class Ticket:
    """The publish of one thread."""

    __slots__ = ("_taken", "batch", "heir", "lock", "outcome", "parcel")

    def __init__(self, parcel: Parcel, batch: Batch) -> None:
        self.parcel: Parcel = parcel
        self.batch: Batch = batch
        self.outcome: Outcome | None = None
        self.heir: bool = False
        """Whether it is to repeat the call of a leader that was interrupted."""
        self.lock: threading.Lock = threading.Lock()
        self.lock.acquire()
        self._taken: dict[int, Flight[Ticket] | Alone] = {}

    def take(self, by: Flight[Ticket] | Alone) -> bool:
        """Whether it goes this way; only one way is ever told so."""
        return self._taken.setdefault(0, by) is by

    @property
    def taken(self) -> Flight[Ticket] | Alone | None:
        return self._taken.get(0)

    def land(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self.wake()

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was woken already
            self.lock.release()


class Group:
    """The threads that publish to one queue with one priority."""

    __slots__ = ("_namers", "free", "waiting")

    def __init__(self) -> None:
        self.free: deque[None] = deque([None] * AT_ONCE)
        """One for each call that may begin: taken by ``pop``, given back by ``append``."""
        self._namers: deque[Lane] = deque()
        """Lanes that only name messages: those of threads that wait."""
        self.waiting: deque[Ticket] = deque()

    def pass_on(self) -> None:
        """Tell one of those that wait that it may begin."""
        with contextlib.suppress(RuntimeError):  # others came or went: they look for themselves
            for ticket in tuple(self.waiting):
                if ticket.taken is None:
                    ticket.wake()
                    return

    def join(self, parcel: Parcel, call: Call) -> PublishReply:
        """Publish with others: lead them, or be taken on."""
        ticket = Ticket(parcel, self._packed(parcel))
        self.waiting.append(ticket)
        try:
            outcome = self._outcome(ticket, call)
        except BaseException:
            if not ticket.take(ALONE):
                self._inherit(ticket)
            self.pass_on()
            raise
        if isinstance(outcome, Alone):
            return call(parcel.command)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _packed(self, parcel: Parcel) -> Batch:
        try:
            namer = self._namers.pop()
        except IndexError:
            namer = Lane()
        try:
            return parcel.pack(namer)
        finally:
            if not namer.worn:
                self._namers.append(namer)

    def _outcome(self, ticket: Ticket, call: Call) -> Outcome:
        began, woken = monotonic(), True
        while ticket.outcome is None:
            flight = ticket.taken
            if flight is None:
                free = self.free
                if free:
                    try:
                        free.pop()
                    except IndexError:  # another one was faster
                        continue
                    try:
                        self._lead(ticket, call)
                    finally:
                        free.append(None)
                        self.pass_on()
                    continue
                if not woken and ticket.take(ALONE):
                    # The calls before hang: those to come need not wait for them.
                    self.free = deque([None] * AT_ONCE)
                    return ALONE
            elif isinstance(flight, Flight) and (ticket.heir or monotonic() - began > LONGEST):
                if ticket not in flight.seats:  # its leader was interrupted at that very moment
                    return ALONE
                self._send(flight, call)
                continue
            woken = ticket.lock.acquire(timeout=PATIENCE)
        return ticket.outcome

    def _lead(self, ticket: Ticket, call: Call) -> None:
        flight = Flight[Ticket]()
        if not ticket.take(flight):
            return
        flight.take_on(ticket)
        with contextlib.suppress(IndexError):
            while flight.has_room:
                other = self.waiting.popleft()
                if other is not ticket and other.take(flight):
                    flight.take_on(other)
        self._send(flight, call)

    def _send(self, flight: Flight[Ticket], call: Call) -> None:
        try:
            reply = call(flight.command)
        except Exception as error:  # noqa: BLE001 - each of them raises its own
            flight.fail(error)
        else:
            flight.land(reply)

    def _inherit(self, ticket: Ticket) -> None:
        """An exception out of nowhere has ended this one: its flight must not hang on it."""
        flight = ticket.taken
        ticket.outcome = ticket.outcome or ALONE
        if isinstance(flight, Flight):
            for other in flight.seats:
                if other.outcome is None:
                    other.heir = True
                    other.wake()
                    break
