"""The one loud warning (F40): a server that may lose messages, told at a connection's first use.

It costs one INFO behind the handshake of the first connection that a source makes, and nothing
later. Where INFO is not permitted nothing is said, and nothing fails.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import redis
from redis import exceptions
from redis.asyncio import connection as aio_connection

from ..findings import at_first_use, read_info

__all__ = ["FirstUse", "say_nothing_of"]

logger: Final = logging.getLogger("typed_rmq")

PATIENCE: Final = 1.0
"""Seconds that INFO may take; a server that is slower has other worries than ours."""

_told: Final[set[str]] = set()
"""The servers that were told of in this process."""


def say_nothing_of(run_id: str) -> None:
    """This process knows that it may lose what this server holds: one of a test's own."""
    _told.add(run_id)


class FirstUse:
    """Whether a source's server was looked at."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done: bool = False

    def look(self, connection: redis.connection.ConnectionInterface) -> None:
        """Ask and warn; only a broken connection raises, and is the caller's to throw away."""
        try:
            connection.send_command("INFO")
            self._judge(connection.read_response(disable_decoding=True, timeout=PATIENCE))
        except exceptions.TimeoutError:
            self.done = True  # not a second time: the call itself must get its turn
            raise
        except (exceptions.ResponseError, exceptions.BusyLoadingError) as error:
            error.with_traceback(None)  # see failures.loosened
            self.done = True

    async def alook(self, connection: aio_connection.AbstractConnection) -> None:
        """``look`` for asyncio."""
        try:
            async with asyncio.timeout(PATIENCE):
                await connection.send_command("INFO")
                self._judge(await connection.read_response(disable_decoding=True))
        except TimeoutError:
            self.done = True
            raise exceptions.TimeoutError(f"no reply within {PATIENCE:.3g} s") from None
        except exceptions.TimeoutError:
            self.done = True
            raise
        except (exceptions.ResponseError, exceptions.BusyLoadingError) as error:
            error.with_traceback(None)  # see failures.loosened
            self.done = True

    def _judge(self, reply: object) -> None:
        self.done = True
        if not isinstance(reply, bytes):
            return
        info = read_info(reply)
        server = info.get("run_id", "")
        found = at_first_use(info)
        if not found or server in _told:
            return
        _told.add(server)
        port = info.get("tcp_port", "0")
        where = f"port {port}" if port != "0" else "on a unix socket or by TLS"
        logger.warning(
            "this Redis (%s) may lose messages: %s. Queue.doctor() tells more",
            where,
            "; ".join(f"{one.what} ({one.advice})" for one in found),
        )
