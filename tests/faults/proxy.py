"""A TCP proxy that loses requests or replies on demand.

``proxy.lose_reply(b"...")`` lets the next request with that text through, waits for its answer,
throws the answer away, and cuts the connection: what a client sees when the network fails between
the script's run and its reply.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

__all__ = ["Proxy"]


@dataclass
class _Plan:
    text: bytes
    what: str
    times: int
    hook: Callable[[], None] | None = None


class Proxy:
    """Forwards ``url`` to ``127.0.0.1:port``.

    Set ``refusing`` to turn new connections away, ``slow`` to hold each request for seconds.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()
        self._plans: list[_Plan] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._epoch = 0
        self.refusing = False
        self.slow = 0.0
        self.requests: list[bytes] = []
        self.lost = 0
        self.connections = 0
        self._accepting = threading.Thread(target=self._accept, name="proxy")
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    # --- faults

    def lose_reply(
        self, text: bytes = b"", times: int = 1, hook: Callable[[], None] | None = None
    ) -> None:
        """Of the next requests with ``text``: done by the server, never answered.

        ``hook`` runs when the answer is there, before the connection is cut.
        """
        self._add(_Plan(text, "reply", times, hook))

    def lose_request(self, text: bytes = b"", times: int = 1) -> None:
        """Of the next requests with ``text``: never reach the server."""
        self._add(_Plan(text, "request", times))

    def hold_reply(self, text: bytes = b"", times: int = 1) -> None:
        """Of the next requests with ``text``: done, the answer is never sent, nothing is cut."""
        self._add(_Plan(text, "hold", times))

    def heal(self) -> None:
        """No more faults; a connection whose answer is held stays as it is."""
        with self._lock:
            self._plans.clear()

    def _add(self, plan: _Plan) -> None:
        with self._lock:
            self._plans.append(plan)

    def cut(self) -> None:
        """Cut every connection that stands."""
        with self._lock:
            self._epoch += 1

    def count(self, text: bytes) -> int:
        """How many requests with this text have come."""
        with self._lock:
            return sum(text in request for request in self.requests)

    def _fault(self, request: bytes) -> _Plan | None:
        with self._lock:
            self.requests.append(request)
            for plan in self._plans:
                if plan.times > 0 and plan.text in request:
                    plan.times -= 1
                    self.lost += 1
                    return plan
        return None

    # --- forwarding

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._woken], [], [])
            if self._closing:
                return
            if self._listener in ready:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(client,), name="proxy link")
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            upstream = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            client.close()
            return
        with client, upstream as server:
            held, epoch = False, self._epoch
            plan: _Plan | None = None
            while not self._closing and epoch == self._epoch:
                ready, _, _ = select.select([client, server], [], [], 0.02)
                try:
                    if client in ready:
                        data = client.recv(1 << 20)
                        if not data:
                            return
                        plan = self._fault(data) or plan
                        if plan is not None and plan.what == "request":
                            return
                        time.sleep(self.slow)
                        server.sendall(data)
                    if server in ready:
                        data = server.recv(1 << 20)
                        if not data:
                            return
                        if plan is not None and plan.what == "reply":
                            if plan.hook is not None:
                                plan.hook()
                            return
                        held = held or (plan is not None and plan.what == "hold")
                        if not held:
                            client.sendall(data)
                except OSError:
                    return

    # --- the end

    def close(self) -> None:
        self._closing = True
        self._wake.send(b"x")
        self._accepting.join()
        for thread in self._threads:
            thread.join()
        for one in (self._listener, self._wake, self._woken):
            one.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
