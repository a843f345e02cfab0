"""The queue's two hands: calls to Redis in lanes, for sync code and for asyncio.

Each call outside of a session takes a lane out of a pool and puts it back when it was answered.
A lane whose call got no answer is given up: a number is never used for two things. A lane keeps its
connection between calls, unless too many do: see ``resting``.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from .async_grouping import AsyncGroup
from .commands import Command, PublishReply
from .drivers.aio import AsyncDriver, AsyncLink
from .drivers.async_sources import AsyncSource
from .drivers.connection import Connection, Tell
from .drivers.sources import SyncSource
from .drivers.sync import SyncDriver, SyncLink
from .durability import Durability
from .grouping import Parcel
from .keys import PRIORITIES, QueueKeys
from .producer import Lane
from .resting import Resting
from .sync_grouping import Group

R = TypeVar("R")
L = TypeVar("L")
B = TypeVar("B")

__all__ = ["AsyncBackend", "SyncBackend"]

MAX_ASYNC_LANES: Final = 16
"""Calls in flight per event loop and queue: a thousand tasks do not need a thousand sockets."""


class _Hand(Generic[L, B]):
    """A lane with the link that its calls take, and whose it is."""

    __slots__ = ("__weakref__", "lane", "link", "owner")

    def __init__(self, link: L, owner: weakref.ref[B]) -> None:
        self.lane: Lane = Lane()
        self.link: L = link
        self.owner: weakref.ref[B] = owner


class SyncBackend:
    """Calls in threads: as many lanes as threads call at once."""

    def __init__(self, connection: Connection, keys: QueueKeys, tell: Tell) -> None:
        self._connection = connection
        self._keys = keys
        self._tell = tell
        self._driver: SyncDriver | None = None
        self._hands: deque[_SyncHand] = deque()
        self._bare: deque[_SyncHand] = deque()
        """Hands that gave back their connection."""
        self._groups = tuple(Group() for _ in PRIORITIES)
        _backends.add(self)

    @property
    def driver(self) -> SyncDriver:
        if self._driver is None:
            self._driver = self._connection.sync_driver(
                self._keys.name, self._keys.prefix, self._tell
            )
        return self._driver

    def publish(self, parcel: Parcel, priority: int) -> PublishReply:
        """Store one message: at once, or where others are at it, together with those that wait."""
        group = self._groups[priority]
        free = group.free
        if group.waiting:
            return group.join(parcel, self.call)
        try:
            free.pop()
        except IndexError:
            return group.join(parcel, self.call)
        try:
            return self.call(parcel.command)
        finally:
            free.append(None)
            if group.waiting:
                group.pass_on()

    def call(self, make: Callable[[Lane], Command[R]], durability: Durability | None = None) -> R:
        """Make a command in a lane, send it until it is answered, and until it is as durable."""
        driver = self._driver or self.driver
        try:
            hand = self._hands.pop()
        except IndexError:
            hand = self._bare_hand(driver)
        lane = hand.lane
        number = lane.number
        try:
            command = make(lane)
        except BaseException:
            # Nothing has left: the lane is as good as before, unless a number was taken.
            if lane.number == number:
                self._hands.append(hand)
            raise
        try:
            reply = driver.execute(command, hand.link)
            if durability is not None and not _refused(reply):
                driver.confirm(hand.link, self._keys.lane(lane.token), durability)
        except BaseException:
            hand.link.drop()
            raise
        if not driver.keep:
            hand.link.release()
        if not lane.worn:
            self._hands.append(hand)
        return reply

    def stream(self, makes: Iterable[Callable[[Lane], Command[R]]]) -> Iterator[R]:
        """Calls in one lane, each made while Redis is at work on the one before.

        What raises while a call is made is raised after the call before it was answered.
        """
        driver = self._driver or self.driver
        try:
            hand = self._hands.pop()
        except IndexError:
            hand = self._bare_hand(driver)
        lane, link = hand.lane, hand.link
        under_way: tuple[Command[R], float] | None = None
        try:
            for item in _made(makes, lane):
                command = item if isinstance(item, Command) else None
                if under_way is not None:
                    reply = driver.finish(under_way[0], link, under_way[1])
                    under_way = None
                    if command is not None:
                        under_way = command, driver.begin(command, link)
                    yield reply
                elif command is not None:
                    under_way = command, driver.begin(command, link)
                if isinstance(item, Exception):
                    raise item
            if under_way is not None:
                reply = driver.finish(under_way[0], link, under_way[1])
                under_way = None
                yield reply
        finally:
            if under_way is not None:
                link.drop()
            else:
                if not driver.keep:
                    link.release()
                if not lane.worn:
                    self._hands.append(hand)

    def _bare_hand(self, driver: SyncDriver) -> _SyncHand:
        """A hand that will get a connection, for which others may have to give back theirs."""
        try:
            hand = self._bare.pop()
        except IndexError:
            owner: weakref.ref[SyncBackend] = weakref.ref(self)
            hand = _Hand(driver.link(), owner)
        if driver.keep:
            resting = _sync_resting.setdefault(driver.source, Resting())
            for other in resting.enter(hand):
                its = other.owner()
                if its is not None and not its.lay_by(other):
                    resting.keep(other)
        return hand

    def lay_by(self, hand: _SyncHand) -> bool:
        """Give back a hand's connection, from any thread; ``False`` where it is in use."""
        try:
            self._hands.remove(hand)
        except ValueError:
            return False
        # Now it is nobody's but ours.
        hand.link.release()
        self._bare.append(hand)
        return True

    def ask(self, *questions: Sequence[str | bytes | int]) -> list[object]:
        """Plain commands, one after the other; ``Refused`` in place of what Redis does not tell."""
        link = self.driver.link()
        try:
            return [self.driver.ask(link, *question) for question in questions]
        finally:
            link.release()

    def wait(self, bell: bytes, seconds: float) -> None:
        """Until this bell rings, ``seconds`` at most."""
        link = self.driver.link()
        try:
            self.driver.wait(link, bell, seconds, None)
        finally:
            link.drop()

    def close(self) -> None:
        """Give the connections back; a later call begins anew."""
        while self._hands:
            self._hands.pop().link.release()
        self._bare.clear()
        self._driver = None

    def after_fork(self) -> None:
        """In the child: the parent's lanes and connections are not ours."""
        self._hands, self._bare = deque(), deque()
        self._driver = None
        self._groups = tuple(Group() for _ in PRIORITIES)


class AsyncBackend:
    """Calls in tasks of one event loop."""

    def __init__(self, connection: Connection, keys: QueueKeys, tell: Tell) -> None:
        self._keys = keys
        self.driver: AsyncDriver = connection.async_driver(keys.name, keys.prefix, tell)
        self._hands: deque[_AsyncHand] = deque()
        self._bare: deque[_AsyncHand] = deque()
        self._free = asyncio.Semaphore(MAX_ASYNC_LANES)
        self._groups = tuple(AsyncGroup() for _ in PRIORITIES)

    async def publish(self, parcel: Parcel, priority: int) -> PublishReply:
        """See ``SyncBackend.publish``."""
        group = self._groups[priority]
        if group.holder is not None:
            return await group.join(parcel, self.call)
        group.holder = parcel
        try:
            return await self.call(parcel.command)
        finally:
            if group.waiting:
                group.left(parcel, self.call)
            elif group.holder is parcel:
                group.holder = None

    async def call(
        self, make: Callable[[Lane], Command[R]], durability: Durability | None = None
    ) -> R:
        """Make a command in a lane, send it until it is answered, and until it is as durable."""
        async with self._free:
            hand = self._hands.pop() if self._hands else await self._bare_hand()
            lane = hand.lane
            number = lane.number
            try:
                command = make(lane)
            except BaseException:
                if lane.number == number:
                    self._hands.append(hand)
                raise
            try:
                reply = await self.driver.execute(command, hand.link)
                if durability is not None and not _refused(reply):
                    key = self._keys.lane(lane.token)
                    await self.driver.confirm(hand.link, key, durability)
            except BaseException:
                await hand.link.drop()
                raise
            if not self.driver.keep:
                await hand.link.release()
            if not lane.worn:
                self._hands.append(hand)
            return reply

    async def stream(self, makes: AsyncIterable[Callable[[Lane], Command[R]]]) -> AsyncIterator[R]:
        """See ``SyncBackend.stream``."""
        driver = self.driver
        async with self._free:
            hand = self._hands.pop() if self._hands else await self._bare_hand()
            lane, link = hand.lane, hand.link
            under_way: tuple[Command[R], float] | None = None
            try:
                async for item in _amade(makes, lane):
                    command = item if isinstance(item, Command) else None
                    if under_way is not None:
                        reply = await driver.finish(under_way[0], link, under_way[1])
                        under_way = None
                        if command is not None:
                            under_way = command, await driver.begin(command, link)
                        yield reply
                    elif command is not None:
                        under_way = command, await driver.begin(command, link)
                    if isinstance(item, Exception):
                        raise item
                if under_way is not None:
                    reply = await driver.finish(under_way[0], link, under_way[1])
                    under_way = None
                    yield reply
            finally:
                if under_way is not None:
                    await link.drop()
                else:
                    if not driver.keep:
                        await link.release()
                    if not lane.worn:
                        self._hands.append(hand)

    async def _bare_hand(self) -> _AsyncHand:
        """See ``SyncBackend``."""
        if self._bare:
            hand = self._bare.pop()
        else:
            owner: weakref.ref[AsyncBackend] = weakref.ref(self)
            hand = _Hand(self.driver.link(), owner)
        if self.driver.keep:
            resting = _async_resting.setdefault(self.driver.source, Resting())
            for other in resting.enter(hand):
                its = other.owner()
                if its is not None and not await its.lay_by(other):
                    resting.keep(other)
        return hand

    async def lay_by(self, hand: _AsyncHand) -> bool:
        """Give back a hand's connection; ``False`` where it is in use."""
        if hand not in self._hands:
            return False
        self._hands.remove(hand)
        try:
            await hand.link.release()
        finally:
            self._bare.append(hand)
        return True

    async def ask(self, *questions: Sequence[str | bytes | int]) -> list[object]:
        """See ``SyncBackend.ask``."""
        link = self.driver.link()
        try:
            return [await self.driver.ask(link, *question) for question in questions]
        finally:
            await link.release()

    async def wait(self, bell: bytes, seconds: float) -> None:
        """Until this bell rings, ``seconds`` at most."""
        link = self.driver.link()
        try:
            await self.driver.wait(link, bell, seconds, None)
        finally:
            await link.drop()

    async def aclose(self) -> None:
        """Give the connections back."""
        while self._hands:
            await self._hands.pop().link.release()
        self._bare.clear()


_SyncHand = _Hand[SyncLink, SyncBackend]
_AsyncHand = _Hand[AsyncLink, AsyncBackend]

_sync_resting: weakref.WeakKeyDictionary[SyncSource, Resting[_SyncHand]] = (
    weakref.WeakKeyDictionary()
)
_async_resting: weakref.WeakKeyDictionary[AsyncSource, Resting[_AsyncHand]] = (
    weakref.WeakKeyDictionary()
)


def _refused(reply: object) -> bool:
    """A publish that found no room has written nothing that one could wait for."""
    return isinstance(reply, PublishReply) and reply.answer == "full"


def _made(
    makes: Iterable[Callable[[Lane], Command[R]]], lane: Lane
) -> Iterator[Command[R] | Exception]:
    """The commands, and at last the error that ended them: a call may be under way still."""
    try:
        for make in makes:
            yield make(lane)
    except Exception as error:  # noqa: BLE001 - raised by whoever asked, in its turn
        yield error


async def _amade(
    makes: AsyncIterable[Callable[[Lane], Command[R]]], lane: Lane
) -> AsyncIterator[Command[R] | Exception]:
    """The same for async iterables."""
    try:
        async for make in makes:
            yield make(lane)
    except Exception as error:  # noqa: BLE001 - raised by whoever asked, in its turn
        yield error


_backends: weakref.WeakSet[SyncBackend] = weakref.WeakSet()


def _after_fork() -> None:
    for backend in list(_backends):
        backend.after_fork()


os.register_at_fork(after_in_child=_after_fork)
