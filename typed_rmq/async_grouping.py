"""Publishes of several tasks that leave together: see ``grouping.py``.

Flights are sent by a task of their own, so that whoever is cancelled takes nobody along. It lives
as long as somebody waits.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable

from .commands import Command, PublishReply
from .grouping import PATIENCE, Alone, Flight, Outcome, Parcel
from .producer import Batch, Lane

__all__ = ["AsyncCall", "AsyncGroup", "AsyncTicket"]

AsyncCall = Callable[[Callable[[Lane], Command[PublishReply]]], Awaitable[PublishReply]]


class AsyncTicket:
    """The publish of one task."""

    __slots__ = ("batch", "flight", "future", "parcel")

    def __init__(self, parcel: Parcel, batch: Batch, future: asyncio.Future[Outcome]) -> None:
        self.parcel: Parcel = parcel
        self.batch: Batch = batch
        self.future: asyncio.Future[Outcome] = future
        self.flight: AsyncFlight | None = None

    def land(self, outcome: Outcome) -> None:
        if not self.future.done():
            self.future.set_result(outcome)


class AsyncFlight(Flight[AsyncTicket]):
    """A flight, the task that sends it, and whether that is still wanted."""

    __slots__ = ("ended", "task")

    def __init__(self, task: asyncio.Task[None]) -> None:
        super().__init__()
        self.task: asyncio.Task[None] = task
        self.ended: asyncio.Future[None] | None = None

    @property
    def deserted(self) -> bool:
        return all(ticket.future.cancelled() for ticket in self.seats)

    async def give_up(self) -> None:
        """Cancel the call, as nobody waits for it, and see it ended."""
        if self.ended is None:
            self.ended = asyncio.get_running_loop().create_future()
            self.task.cancel()
        await asyncio.shield(self.ended)


class AsyncGroup:
    """The tasks of one event loop that publish to one queue with one priority."""

    __slots__ = ("_namer", "_tasks", "_timer", "holder", "waiting")

    def __init__(self) -> None:
        self._namer = Lane()
        """A lane that only names the messages of those that wait."""
        self.holder: object | None = None
        """The call under way, if there is one that others wait for."""
        self.waiting: deque[AsyncTicket] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def left(self, holder: object, call: AsyncCall) -> None:
        """That call has ended: the turn is with those that wait."""
        if self.holder is holder:
            self.holder = None
            if any(not ticket.future.done() for ticket in self.waiting):
                self._begin(call)

    async def join(self, parcel: Parcel, call: AsyncCall) -> PublishReply:
        """Publish with others, while a call is under way."""
        loop = asyncio.get_running_loop()
        if self._namer.worn:
            self._namer = Lane()
        ticket = AsyncTicket(parcel, parcel.pack(self._namer), loop.create_future())
        self.waiting.append(ticket)
        if self._timer is None:
            self._timer = loop.call_later(PATIENCE, self._look, self.holder, call)
        try:
            outcome = await ticket.future
        except asyncio.CancelledError:
            if ticket.flight is None:
                self.waiting.remove(ticket)
            elif ticket.flight.deserted:
                await ticket.flight.give_up()
            raise
        if isinstance(outcome, Alone):
            return await call(parcel.command)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _look(self, holder: object, call: AsyncCall) -> None:
        """Whether the same call is under way as ``PATIENCE`` ago: then nobody waits for it more."""
        self._timer = None
        if self.waiting:
            if self.holder is holder:
                self._begin(call)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PATIENCE, self._look, self.holder, call)

    def _begin(self, call: AsyncCall) -> None:
        # Not in the context of whoever happened to be here: it is the call of several.
        task = asyncio.get_running_loop().create_task(
            self._send_all(call), context=contextvars.Context()
        )
        self.holder = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_all(self, call: AsyncCall) -> None:
        task = asyncio.current_task()
        assert task is not None
        holder: object = task
        flight: AsyncFlight | None = None
        try:
            while self.waiting and self.holder is holder:
                holder = self.holder = flight = AsyncFlight(task)
                while self.waiting and flight.has_room:
                    ticket = self.waiting.popleft()
                    ticket.flight = flight
                    flight.take_on(ticket)
                await self._send(flight, call)
                # Those that were told go on first, so that what they publish next goes along.
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if flight is None or flight.ended is None:  # the event loop ends
                for ticket in (*(flight.seats if flight else ()), *self.waiting):
                    ticket.future.cancel()
                raise
        finally:
            self.left(holder, call)
            if flight is not None and flight.ended is not None:
                flight.ended.set_result(None)

    async def _send(self, flight: AsyncFlight, call: AsyncCall) -> None:
        try:
            reply = await call(flight.command)
        except Exception as error:  # noqa: BLE001 - each of them raises its own
            flight.fail(error)
        else:
            flight.land(reply)
