"""A real server whose scripts read a clock that the simulation sets.

The scripts are those of the package but for one thing: ``TIME`` is read from a key, so that hours
pass at once, the clock can be stepped, and the same seed gives the same run.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Sequence
from typing import Any, TypeVar

import hiredis

from tests.lua.kit import Mutant
from tests.servers import RunningServer, start
from typed_rmq.commands import Command
from typed_rmq.drivers.packing import pack_command
from typed_rmq.scripts import Script

R = TypeVar("R")

CLOCK = b"sim:clock"
OPTIONS = (
    # Small hashes keep their order, so that a run does not depend on the server's hash seed.
    *("--hash-max-ziplist-value", "100000", "--hash-max-ziplist-entries", "5000"),
    *("--maxmemory-policy", "noeviction"),
)

__all__ = ["CLOCK", "Refused", "SimServer", "start_server"]


class Refused(Exception):
    """The server answered with an error."""


def start_server(kind: str = "valkey") -> RunningServer:
    """A server for simulations alone."""
    return start(kind, *OPTIONS)


class SimServer:
    """One connection to a server that nobody else uses.

    Attributes:
        now: its clock, in milliseconds.
        bell: how often the queue's bell is rung.
    """

    def __init__(self, running: RunningServer, bell: bytes, mutants: Sequence[Mutant] = ()) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(running.socket))
        self._reader = hiredis.Reader()
        self._mutants = mutants
        self._scripts: dict[str, Script] = {}
        self.now = 0
        self._moved = False
        self._bell = bell
        self.bell = 0

    def close(self) -> None:
        self._socket.close()

    # --- commands

    def _exchange(self, data: bytes, count: int = 1) -> list[Any]:
        self._socket.sendall(data)
        replies: list[Any] = []
        while len(replies) < count:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1 << 20))
            else:
                replies.append(reply)
        return replies

    def command(self, *args: bytes | str | int) -> Any:
        if self._moved:
            self._exchange(self._clock())
        reply = self._exchange(hiredis.pack_command(args))[0]
        if isinstance(reply, hiredis.ReplyError):
            raise Refused(str(reply))
        return reply

    def run(self, command: Command[R]) -> R:
        """A script's reply, as the drivers get it: by its hash, else by its source."""
        patched: Command[R] = Command(
            self._patched(command.script), command.keys, command.args, command.parse
        )
        clock = self._clock() if self._moved else b""
        look = hiredis.pack_command(("LLEN", self._bell))
        *_, reply, self.bell = self._exchange(
            clock + pack_command(patched) + look, 3 if clock else 2
        )
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            reply, self.bell = self._exchange(pack_command(patched, source=True) + look, 2)
        if isinstance(reply, hiredis.ReplyError):
            raise Refused(str(reply))
        return command.parse(reply)

    def _patched(self, script: Script) -> Script:
        known = self._scripts.get(script.name)
        if known is None:
            text = script.source.decode()
            for mutant in self._mutants:
                text = mutant.apply(script.name, text)
            text = text.replace("call('TIME')", "call('HMGET', 'sim:clock', 's', 'us')")
            source = text.encode()
            sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
            known = self._scripts[script.name] = Script(script.name, source, sha)
        return known

    # --- the clock

    def set_clock(self, now: int) -> None:
        """From the next script on."""
        self._moved = self._moved or now != self.now
        self.now = now

    def _clock(self) -> bytes:
        self._moved = False
        seconds, milliseconds = divmod(self.now, 1000)
        return hiredis.pack_command(("HSET", CLOCK, "s", seconds, "us", milliseconds * 1000))

    # --- the bell

    def take_ring(self) -> bool:
        """Take a token off the bell, as a blocked consumer does. Only a script rings it."""
        if self.bell:
            self.bell -= 1
            return self.command("LPOP", self._bell) is not None
        return False
