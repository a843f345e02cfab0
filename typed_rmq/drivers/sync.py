"""The sync driver: connections of redis-py, used one call at a time.

redis-py's connections bring TLS, passwords, Sentinel, and unix sockets. Its clients' retries are
left out: they would repeat a call without its being told, and ours are bounded by the budget.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import redis
from redis import exceptions

from ..commands import FULL, Command
from ..durability import Durability
from .confirming import judge, not_confirmed, touch, wait
from .failures import RETRIABLE, Attempts, Refused, Resend, loosened, unanswered
from .packing import pack_command, pack_plain, pack_wait
from .sources import SyncSource

R = TypeVar("R")

__all__ = ["Interrupted", "SyncDriver", "SyncLink"]

CALL_TIMEOUT = 5.0
"""Seconds without a reply before a connection counts as dead."""

WAIT_MARGIN = 5.0
"""Seconds that a reply may be late after a wait before the connection counts as dead."""


class Interrupted(Exception):
    """``interrupt()`` ended a wait."""


class SyncLink:
    """One connection, held by one lane at a time."""

    def __init__(self, source: SyncSource) -> None:
        self._source = source
        self._connection: redis.connection.ConnectionInterface | None = None
        self._asking = False
        self._waiting = False
        self._interrupted = False
        # A reply to what `send` sent is still to come; see `receive`.
        self._unread = False
        self.generation: int = 0

    def _connected(self) -> redis.connection.ConnectionInterface:
        if self._unread:
            # An interrupt came between sending and receiving: that reply is nobody's.
            self.drop()
        connection = self._connection
        if connection is None:
            connection = self._connection = self._source.acquire()
            self.generation += 1
        return connection

    def call(self, data: bytes, timeout: float | None = None) -> object:
        """Send one command and return its reply; ``timeout`` in place of the connection's own."""
        connection = self._connected()
        try:
            if self._asking:
                self._asking = False
                connection.send_packed_command([b"*1\r\n$6\r\nASKING\r\n"])
                connection.read_response(disable_decoding=True)
            connection.send_packed_command([data])
            if timeout is not None:
                return connection.read_response(disable_decoding=True, timeout=timeout)
            return connection.read_response(disable_decoding=True)
        except exceptions.ResponseError as error:
            raise loosened(error) from None  # an answer: the connection is fine
        except BaseException:
            # A reply may still be on its way: nobody may read it in place of his own.
            self.drop()
            raise

    def send(self, data: bytes) -> None:
        """Send one command; ``receive`` must be next."""
        try:
            connection = self._connected()
            self._unread = True
            connection.send_packed_command([data])
        except BaseException:
            self.drop()
            raise

    def receive(self) -> object:
        """The reply to what ``send`` sent."""
        connection = self._connection
        if connection is None:
            raise exceptions.ConnectionError("the connection is gone")
        try:
            reply = connection.read_response(disable_decoding=True)
            self._unread = False
        except exceptions.ResponseError as error:
            self._unread = False
            raise loosened(error) from None
        except BaseException:
            self.drop()
            raise
        return reply

    def wait(self, bell: bytes, seconds: float, data: bytes | None) -> object:
        """Block until the bell rings or the time is over; then the reply to ``data``, if given.

        Both commands leave together. Redis answers the second one as soon as the first is over,
        so that a ring brings the work along, in one hand-over.

        Raises:
            Interrupted: ``interrupt`` was called. ``data`` may have been done.
        """
        failure: exceptions.ResponseError | None = None
        try:
            self._waiting = True
            if self._interrupted:
                raise Interrupted
            connection = self._connected()
            commands = [pack_wait(bell, seconds)]
            if data is not None:
                commands.append(data)
            connection.send_packed_command(commands)
            if self._interrupted:
                raise Interrupted
            # With a bound of our own: the client's socket timeout may be shorter than the wait.
            try:
                connection.read_response(disable_decoding=True, timeout=seconds + WAIT_MARGIN)
            except exceptions.ResponseError as error:
                failure = loosened(error)
            reply: object = None
            if data is not None:
                reply = connection.read_response(disable_decoding=True, timeout=WAIT_MARGIN)
            if failure is not None:
                raise failure
            return reply
        except exceptions.ResponseError as error:
            raise loosened(error) from None
        except BaseException as error:
            self.drop()
            if self._interrupted and isinstance(error, Exception):
                raise Interrupted from None
            raise
        finally:
            self._waiting = False
            failure = None  # as in _persist: no ring of this frame and its error

    def interrupt(self) -> None:
        """End the wait that goes on, or the next one, from any thread or a signal handler."""
        self._interrupted = True
        connection = self._connection
        if self._waiting and connection is not None:
            # Only the socket is shut: the read under way fails, and its own thread cleans up.
            open_socket = connection._get_socket()  # noqa: SLF001
            if open_socket is not None:
                with contextlib.suppress(OSError):
                    # Past TLS: SSLSocket.shutdown() would take the TLS state from the reader.
                    socket.socket.shutdown(open_socket, socket.SHUT_RDWR)

    def redirect(self, resend: Resend) -> None:
        """Follow what an error said about where to go."""
        if resend.moved or resend.reconnect or resend.ask is not None:
            self.drop()
        if resend.moved:
            self._source.refresh()
        if resend.ask is not None:
            self._connection = self._source.acquire(resend.ask)
            self._asking = True

    def drop(self) -> None:
        """Throw the connection away; the next call makes a new one."""
        connection, self._connection = self._connection, None
        self._unread = False
        if connection is not None:
            connection.disconnect()
            self._source.release(connection)

    def release(self) -> None:
        """Give the connection back, as it is."""
        if self._unread:
            self.drop()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._source.release(connection)

    def forget(self) -> None:
        """After a fork: the parent's connection is not ours to touch."""
        self._connection = None
        self._unread = False


class SyncDriver:
    """Sends a queue's commands, again and again until they are answered.

    Args:
        source: where connections come from.
        queue: the queue's name, for errors.
        budget: seconds of retries.
        keep: whether links keep their connection between calls; not those of a user's own client.
        tell: is called when Redis does not answer.
    """

    def __init__(
        self,
        source: SyncSource,
        queue: str,
        budget: float,
        *,
        keep: bool,
        tell: Callable[[str], None],
    ) -> None:
        self.source: SyncSource = source
        self._queue = queue
        self._budget = budget
        self._tell = tell
        self.keep = keep

    def link(self) -> SyncLink:
        return SyncLink(self.source)

    def execute(
        self,
        command: Command[R],
        link: SyncLink,
        *,
        sleep: Callable[[float], object] = time.sleep,
        budget: float | None = None,
    ) -> R:
        """The command's parsed reply, or the error that the user must see.

        ``sleep`` waits between tries; where it returns True, somebody wants to leave, and the
        budget ends soon.
        """
        data = pack_command(command)
        budget = self._budget if budget is None else min(budget, self._budget)
        started = time.monotonic()
        try:
            return command.parse(link.call(data, budget if budget < CALL_TIMEOUT else None))
        except RETRIABLE as error:
            return self._persist(command, link, error, sleep, budget, started)

    def begin(self, command: Command[R], link: SyncLink) -> float:
        """Send a command without waiting for its reply; ``finish`` must be next.

        An error is not raised here: ``finish`` meets it again, and deals with it.
        """
        with contextlib.suppress(*RETRIABLE):
            link.send(pack_command(command))
        return time.monotonic()

    def finish(
        self,
        command: Command[R],
        link: SyncLink,
        started: float,
        *,
        sleep: Callable[[float], object] = time.sleep,
        budget: float | None = None,
    ) -> R:
        """What ``execute`` returns, for a command that ``begin`` has sent."""
        try:
            return command.parse(link.receive())
        except RETRIABLE as error:
            budget = self._budget if budget is None else min(budget, self._budget)
            return self._persist(command, link, error, sleep, budget, started)

    def _persist(
        self,
        command: Command[R],
        link: SyncLink,
        error: Exception,
        sleep: Callable[[float], object],
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
                if resend.delay and sleep(resend.delay) is True:
                    attempts.hurry(time.monotonic())
                try:
                    if resend.doubt:
                        attempts.misfit(self.source.misfit())
                    link.redirect(resend)
                    left = attempts.left(time.monotonic())
                    data = pack_command(command, source=source)
                    try:
                        reply = link.call(data, left if left < CALL_TIMEOUT else None)
                    finally:
                        if resend.ask is not None:
                            link.release()  # only this call goes there
                    return command.parse(reply)
                except RETRIABLE as again:
                    error = again
        finally:
            # Its traceback leads to this frame, and this frame to it: the ring would keep every
            # frame below alive, with the user's loop, until the garbage collector comes round.
            del error

    def wait(
        self,
        link: SyncLink,
        bell: bytes,
        seconds: float,
        command: Command[R] | None,
        *,
        sleep: Callable[[float], object] = time.sleep,
    ) -> R | None:
        """Wait for the bell, then the command's reply (``None`` without a command).

        Raises:
            Interrupted: the wait was ended by ``link.interrupt()``.
        """
        try:
            reply = link.wait(bell, seconds, None if command is None else pack_command(command))
            return None if command is None else command.parse(reply)
        except RETRIABLE as error:
            if command is None:
                # Of a passing error nothing needs to be done: a cycle follows every wait.
                Attempts(self._queue, self._budget, self._tell, cluster=self.source.cluster).after(
                    error, time.monotonic(), can_fill=False
                )
                return None
            return self._persist(command, link, error, sleep, self._budget, time.monotonic())

    def confirm(self, link: SyncLink, lane_key: bytes, durability: Durability) -> None:
        """Wait until what this link has written is as durable as that; see ``confirming``."""
        data, limit = wait(durability)
        try:
            touched = link.call(touch(lane_key))
            reply = link.call(data, limit)
        except RETRIABLE as error:
            raise not_confirmed(self._queue, durability, error) from None
        judge(self._queue, durability, touched, reply)

    def ask(self, link: SyncLink, *words: str | bytes | int) -> object:
        """A plain command's reply, or ``Refused`` with what Redis says. It is tried once."""
        try:
            return link.call(pack_plain(*words))
        except exceptions.ResponseError as error:
            return Refused(str(error))
        except RETRIABLE as error:
            raise unanswered(self._queue, error) from None

    def close(self) -> None:
        self.source.close()
