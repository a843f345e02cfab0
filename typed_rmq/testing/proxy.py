"""A proxy before a real Redis that loses requests and replies, is slow, or is down.

It reads the protocol, so that a fault hits just the call it is meant for. It runs in a thread of
its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import unquote, urlsplit

import hiredis

from .. import scripts
from ..errors import ConfigError
from ..scripts import Script

__all__ = ["Proxy"]

CHUNK: Final = 1 << 16

_SHOWN: Final = {"cycle": "consume", "enqueue": "publish"}
"""Scripts that users know by what they do."""

_NAMES: Final = {
    script.sha: _SHOWN.get(script.name, script.name)
    for script in vars(scripts).values()
    if isinstance(script, Script)
}


@dataclass
class _Fault:
    """What is to happen to the next calls."""

    what: Literal["request", "reply"]
    left: int
    of: str | None


class Proxy:
    """Stands between queues and a real Redis, and does harm on demand.

    Give a queue the proxy's address: ``Queue[Order]("orders", proxy.url)``. The fixture
    ``rmq_faults`` is one before ``rmq_redis``. What the queue then meets is what a bad network or
    a restart would do: broken connections, not exceptions made up.

    ``of`` names the calls that a fault is for: ``"publish"``, ``"consume"`` (which takes messages
    and sends verdicts), ``"renew"``, ``"reap"``, ``"stats"``, ``"peek"``, ``"find"``,
    ``"consumers"``, ``"checkup"``, ``"audit"``, ``"purge"``, ``"promote"``, ``"redrive"``,
    ``"dead_read"``, ``"dead_purge"``, ``"control"`` (pause and resume), or any command of Redis in
    small letters: ``"blpop"`` is a consumer's wait. Left out, it is for every call.

    Args:
        url: of the real Redis, ``redis://`` or ``unix://``.

    Attributes:
        url: the proxy's address, for ``redis=``.
        slow: seconds by which each call is held up; 0.0 for not at all.

    Raises:
        ConfigError: the proxy cannot stand before such a URL.

    Example:
        >>> import os
        >>> from typed_rmq import Queue
        >>> from typed_rmq.testing import Proxy
        >>> with Proxy(os.environ["REDIS_URL"]) as proxy:
        ...     with Queue[int]("doc-proxy", proxy.url) as numbers:
        ...         proxy.lose_reply(of="publish")
        ...         receipt = numbers.publish(1)  # sent twice, stored once
        ...         numbers.stats().ready, receipt.duplicate, proxy.calls.count("publish") > 1
        (1, False, True)
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in ("redis", "unix"):
            raise ConfigError("the proxy stands before a redis:// or unix:// URL only")
        self._path: str | None = unquote(address.path) if address.scheme == "unix" else None
        self._host: tuple[str, int] = (address.hostname or "localhost", address.port or 6379)
        self._lock = threading.Lock()
        self._faults: list[_Fault] = []
        self._down = False
        self.slow: float = 0.0
        self._calls: list[str] = []
        self._links: dict[asyncio.StreamWriter, asyncio.Task[object] | None] = {}
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        started: deque[int | Exception] = deque()
        ready = threading.Event()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve(started, ready))

        self._thread = threading.Thread(target=run, name="typed_rmq proxy", daemon=True)
        self._thread.start()
        ready.wait()
        port = started[0]
        if isinstance(port, Exception):
            self._thread.join()
            raise port
        user, at, _ = address.netloc.rpartition("@") if self._path is None else ("", "", "")
        rest = f"/0?{address.query}" if self._path is not None else f"{address.path}"
        self.url: str = f"redis://{user}{at}127.0.0.1:{port}{rest}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{', down' if self._down else ''}>"

    # --- faults

    def lose_request(self, times: int = 1, *, of: str | None = None) -> None:
        """The next calls break their connection and never reach Redis."""
        self._add(_Fault("request", times, of))

    def lose_reply(self, times: int = 1, *, of: str | None = None) -> None:
        """The next calls are done by Redis, and their connection breaks before the answer."""
        self._add(_Fault("reply", times, of))

    @contextlib.contextmanager
    def down(self) -> Generator[None]:
        """Redis cannot be reached until the block ends: connections break, none is accepted."""
        self._down = True
        self.cut()
        try:
            yield
        finally:
            self._down = False

    def cut(self) -> None:
        """Break every connection that stands; new ones are accepted."""
        self._in_loop(self._cut)

    def heal(self) -> None:
        """Forget the faults that have not happened yet, and be fast again."""
        with self._lock:
            self._faults.clear()
        self.slow = 0.0

    @property
    def calls(self) -> list[str]:
        """The calls that have come so far, by their names, in their order."""
        with self._lock:
            return list(self._calls)

    def _add(self, fault: _Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _fault(self, name: str) -> _Fault | None:
        """The fault that hits this call."""
        with self._lock:
            self._calls.append(name)
            for fault in self._faults:
                if fault.left > 0 and fault.of in (None, name):
                    fault.left -= 1
                    return fault
        return None

    # --- forwarding, in the proxy's thread

    async def _serve(self, started: deque[int | Exception], ready: threading.Event) -> None:
        try:
            server = await asyncio.start_server(self._link, "127.0.0.1", 0)
            port: int = server.sockets[0].getsockname()[1]
            started.append(port)
        except OSError as error:
            started.append(error)
            return
        finally:
            ready.set()
        await self._stopped.wait()
        server.close()
        links = [task for task in self._links.values() if task is not None]
        self._cut()
        if links:
            await asyncio.wait(links)

    async def _link(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection: two streams, until either ends."""
        self._links[to_client] = asyncio.current_task()
        try:
            if self._down:
                return
            server, to_server = await self._connect()
            try:
                waiting: deque[_Fault | None] = deque()
                await _first_of(
                    self._requests(client, to_server, waiting),
                    self._replies(server, to_client, waiting),
                )
            finally:
                to_server.close()
        except OSError:
            pass  # the real Redis is gone, or the client: the other end sees its connection break
        finally:
            self._links.pop(to_client, None)
            to_client.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._path is not None:
            return await asyncio.open_unix_connection(self._path)
        return await asyncio.open_connection(*self._host)

    async def _requests(
        self,
        client: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        waiting: deque[_Fault | None],
    ) -> None:
        reader = hiredis.Reader()
        while data := await client.read(CHUNK):
            reader.feed(data)
            while (request := reader.gets(False)) is not False:
                fault = self._fault(_name(request))
                if fault is not None and fault.what == "request":
                    return
                if self.slow:
                    await asyncio.sleep(self.slow)
                waiting.append(fault)
                to_server.write(hiredis.pack_command(tuple(request)))
            await to_server.drain()

    async def _replies(
        self,
        server: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        waiting: deque[_Fault | None],
    ) -> None:
        reader = hiredis.Reader()
        while data := await server.read(CHUNK):
            reader.feed(data)
            while (reply := reader.gets(False)) is not False:
                # A push of RESP3 answers no request.
                fault = None if isinstance(reply, hiredis.PushNotification) else waiting.popleft()
                if fault is None:
                    continue
                if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
                    # Nothing was done: the fault is for the same call with the script's text.
                    with self._lock:
                        fault.left += 1
                else:
                    return
            to_client.write(data)
            await to_client.drain()

    def _cut(self) -> None:
        for writer in list(self._links):
            writer.transport.abort()

    def _in_loop(self, what: Callable[[], object]) -> None:
        done = threading.Event()

        def do() -> None:
            what()
            done.set()

        self._loop.call_soon_threadsafe(do)
        done.wait()

    # --- the end

    def close(self) -> None:
        """Break every connection and end; harmless when repeated."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _name(request: list[bytes]) -> str:
    """What a call is: a script of ours, or a command."""
    command = request[0].lower()
    if command == b"evalsha":
        return _NAMES.get(request[1], "evalsha")
    if command == b"eval":
        # The text begins with a comment: the script's name, and a colon.
        name = request[1][:40].removeprefix(b"-- ").partition(b":")[0].decode(errors="replace")
        name = _SHOWN.get(name, name)
        return name if name in _NAMES.values() else "eval"
    return command.decode(errors="replace")


async def _first_of(*pumps: Coroutine[object, object, None]) -> None:
    """Until one of them ends; the other is then cancelled."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, OSError):
            raise result
