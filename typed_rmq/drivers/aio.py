"""The async driver: ``sync.py`` with awaits; what differs is how a wait is ended."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from typing import TypeVar

from redis import exceptions
from redis.asyncio import connection as aio_connection

from ..commands import FULL, Command
from ..durability import Durability
from .async_sources import AsyncSource
from .confirming import judge, not_confirmed, touch, wait
from .failures import RETRIABLE, Attempts, Refused, Resend, loosened, unanswered
from .packing import pack_command, pack_plain, pack_wait
from .sync import CALL_TIMEOUT, WAIT_MARGIN, Interrupted

R = TypeVar("R")

__all__ = ["AsyncDriver", "AsyncLink"]


class AsyncLink:
    """One connection, held by one lane at a time."""

    def __init__(self, source: AsyncSource) -> None:
        self._source = source
        self._connection: aio_connection.AbstractConnection | None = None
        self._asking = False
        self._waiting: asyncio.Timeout | None = None
        self._interrupted = False
        self.generation: int = 0

    async def _connected(self) -> aio_connection.AbstractConnection:
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._source.acquire()
            self.generation += 1
        return connection

    async def call(self, data: bytes, timeout: float = CALL_TIMEOUT) -> object:
        """Send one command and return its reply, in ``timeout`` seconds."""
        try:
            connection = self._connection or await self._connected()
            async with asyncio.timeout(timeout):
                if self._asking:
                    self._asking = False
                    await connection.send_packed_command([b"*1\r\n$6\r\nASKING\r\n"])
                    await connection.read_response(disable_decoding=True, timeout=math.inf)
                await connection.send_packed_command([data])
                return await connection.read_response(disable_decoding=True, timeout=math.inf)
        except exceptions.ResponseError as error:
            raise loosened(error) from None  # an answer: the connection is fine
        except TimeoutError:
            await self.drop()
            raise exceptions.TimeoutError(f"no reply within {timeout:.3g} s") from None
        except BaseException:
            # A reply may still be on its way: nobody may read it in place of his own.
            await self.drop()
            raise

    async def send(self, data: bytes) -> None:
        """Send one command; ``receive`` must be next."""
        try:
            connection = self._connection or await self._connected()
            async with asyncio.timeout(CALL_TIMEOUT):
                await connection.send_packed_command([data])
        except BaseException:
            await self.drop()
            raise

    async def receive(self) -> object:
        """The reply to what ``send`` sent."""
        connection = self._connection
        if connection is None:
            raise exceptions.ConnectionError("the connection is gone")
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                return await connection.read_response(disable_decoding=True, timeout=math.inf)
        except exceptions.ResponseError as error:
            raise loosened(error) from None
        except BaseException:
            await self.drop()
            raise

    async def wait(self, bell: bytes, seconds: float, data: bytes | None) -> object:
        """Block until the bell rings or the time is over; then the reply to ``data``, if given.

        See ``SyncLink.wait``. Raises ``Interrupted`` when ``interrupt`` was called.
        """
        failure: exceptions.ResponseError | None = None
        try:
            async with asyncio.timeout(seconds + WAIT_MARGIN) as self._waiting:
                if self._interrupted:
                    raise Interrupted
                connection = await self._connected()
                commands = [pack_wait(bell, seconds)]
                if data is not None:
                    commands.append(data)
                await connection.send_packed_command(commands)
                try:
                    await connection.read_response(disable_decoding=True, timeout=math.inf)
                except exceptions.ResponseError as error:
                    failure = loosened(error)
                reply: object = None
                if data is not None:
                    reply = await connection.read_response(disable_decoding=True, timeout=math.inf)
                if failure is not None:
                    raise failure
                return reply
        except exceptions.ResponseError as error:
            raise loosened(error) from None
        except TimeoutError:
            await self.drop()
            if self._interrupted:
                raise Interrupted from None
            raise exceptions.TimeoutError("no reply after a wait") from None
        except BaseException:
            await self.drop()
            raise
        finally:
            self._waiting = None
            failure = None  # as in _persist: no ring of this frame and its error

    def interrupt(self) -> None:
        """End the wait that goes on, or the next one; in the loop's own thread."""
        self._interrupted = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def redirect(self, resend: Resend) -> None:
        """Follow what an error said about where to go."""
        if resend.moved or resend.reconnect or resend.ask is not None:
            await self.drop()
        if resend.moved:
            await self._source.refresh()
        if resend.ask is not None:
            self._connection = await self._source.acquire(resend.ask)
            self._asking = True

    async def drop(self) -> None:
        """Throw the connection away; the next call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.disconnect(nowait=True)
            finally:
                await self._source.release(connection)

    async def release(self) -> None:
        """Give the connection back, as it is."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._source.release(connection)

    def forget(self) -> None:
        """After a fork: the parent's connection is not ours to touch."""
        self._connection = None


class AsyncDriver:
    """``SyncDriver`` for one event loop."""

    def __init__(
        self,
        source: AsyncSource,
        queue: str,
        budget: float,
        *,
        keep: bool,
        tell: Callable[[str], None],
    ) -> None:
        self.source: AsyncSource = source
        self._queue = queue
        self._budget = budget
        self._tell = tell
        self.keep = keep

    def link(self) -> AsyncLink:
        return AsyncLink(self.source)

    async def execute(
        self,
        command: Command[R],
        link: AsyncLink,
        *,
        stopping: Callable[[], bool] = lambda: False,
        budget: float | None = None,
    ) -> R:
        """The command's parsed reply, or the error that the user must see."""
        budget = self._budget if budget is None else min(budget, self._budget)
        started = time.monotonic()
        try:
            return command.parse(await link.call(pack_command(command), min(budget, CALL_TIMEOUT)))
        except RETRIABLE as error:
            return await self._persist(command, link, error, stopping, budget, started)

    async def begin(self, command: Command[R], link: AsyncLink) -> float:
        """Send a command without waiting for its reply; ``finish`` must be next.

        An error is not raised here: ``finish`` meets it again, and deals with it.
        """
        with contextlib.suppress(*RETRIABLE):
            await link.send(pack_command(command))
        return time.monotonic()

    async def finish(self, command: Command[R], link: AsyncLink, started: float) -> R:
        """What ``execute`` returns, for a command that ``begin`` has sent."""
        try:
            return command.parse(await link.receive())
        except RETRIABLE as error:
            return await self._persist(command, link, error, lambda: False, self._budget, started)

    async def _persist(
        self,
        command: Command[R],
        link: AsyncLink,
        error: Exception,
        stopping: Callable[[], bool],
        budget: float,
        started: float,
    ) -> R:
        attempts = Attempts(
            self._queue, budget, self._tell, since=started, cluster=self.source.cluster
        )
        source = filled = False
        try:
            while True:
                resend = attempts.after(
                    error,
                    time.monotonic(),
                    can_fill=command.full_at is not None and not filled,
                )
                if resend.full and command.full_at is not None:
                    command.args[command.full_at] = FULL
                    filled = True
                source = source or resend.source
                if resend.delay:
                    await asyncio.sleep(resend.delay)
                    if stopping():
                        attempts.hurry(time.monotonic())
                try:
                    if resend.doubt:
                        attempts.misfit(await self.source.misfit())
                    await link.redirect(resend)
                    left = min(attempts.left(time.monotonic()), CALL_TIMEOUT)
                    data = pack_command(command, source=source)
                    try:
                        reply = await link.call(data, left)
                    finally:
                        if resend.ask is not None:
                            await link.release()  # only this call goes there
                    return command.parse(reply)
                except RETRIABLE as again:
                    error = again
        finally:
            # Its traceback leads to this frame, and this frame to it: the ring would keep every
            # frame below alive, with the user's loop, until the garbage collector comes round.
            del error

    async def wait(
        self,
        link: AsyncLink,
        bell: bytes,
        seconds: float,
        command: Command[R] | None,
        *,
        stopping: Callable[[], bool] = lambda: False,
    ) -> R | None:
        """Wait for the bell, then the command's reply (``None`` without a command).

        Raises:
            Interrupted: the wait was ended by ``link.interrupt()``.
        """
        try:
            data = None if command is None else pack_command(command)
            reply = await link.wait(bell, seconds, data)
            return None if command is None else command.parse(reply)
        except RETRIABLE as error:
            if command is None:
                # Of a passing error nothing needs to be done: a cycle follows every wait.
                Attempts(self._queue, self._budget, self._tell, cluster=self.source.cluster).after(
                    error, time.monotonic(), can_fill=False
                )
                return None
            return await self._persist(
                command, link, error, stopping, self._budget, time.monotonic()
            )

    async def confirm(self, link: AsyncLink, lane_key: bytes, durability: Durability) -> None:
        """Wait until what this link has written is as durable as that; see ``confirming``."""
        data, limit = wait(durability)
        try:
            touched = await link.call(touch(lane_key))
            reply = await link.call(data, limit)
        except RETRIABLE as error:
            raise not_confirmed(self._queue, durability, error) from None
        judge(self._queue, durability, touched, reply)

    async def ask(self, link: AsyncLink, *words: str | bytes | int) -> object:
        """A plain command's reply, or ``Refused`` with what Redis says. It is tried once."""
        try:
            return await link.call(pack_plain(*words))
        except exceptions.ResponseError as error:
            return Refused(str(error))
        except RETRIABLE as error:
            raise unanswered(self._queue, error) from None

    async def aclose(self) -> None:
        await self.source.aclose()
