"""Dashboards as processes of their own, as people start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from types import TracebackType

import httpx

from tests.docs.pages import ROOT


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """``python -m typed_rmq.dashboard`` with these arguments, until the ``with`` block ends."""

    def __init__(self, *arguments: str, url: str, token: str | None = None) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        environment = {**os.environ, "SHOP_REDIS_URL": url, "REDIS_URL": url}
        if token is not None:
            environment["TYPED_RMQ_DASHBOARD_TOKEN"] = token
        command = [sys.executable, "-m", "typed_rmq.dashboard", "--port", str(self.port)]
        self.process = subprocess.Popen([*command, *arguments], cwd=ROOT, env=environment)

    def __enter__(self) -> Service:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{self.base}/static/icon.svg")
            except httpx.TransportError:
                assert self.process.poll() is None, "the dashboard ended"
                assert time.monotonic() < deadline, "the dashboard does not answer"
                time.sleep(0.05)
            else:
                return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
