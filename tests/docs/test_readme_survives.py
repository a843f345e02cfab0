"""What the README promises of its own example: it survives kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.docs.pages import ROOT, blocks
from tests.servers import RunningServer

EXAMPLE = next(
    block.code for block in blocks((ROOT / "README.md").read_text()) if block.language == "python"
)
# A short lease, so that the test need not wait for a minute.
SHORT = EXAMPLE.replace('Queue[Order]("orders")', 'Queue[Order]("orders", lease=1.0)')
SHIP = 'print("shipping", order.sku)'
HANGS = SHORT.replace(SHIP, 'print("started", flush=True); __import__("time").sleep(60)')
SHIPS = SHORT.replace(SHIP, 'print("shipping", order.sku, msg.attempt, flush=True)')


@contextmanager
def _start(code: str, url: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "REDIS_URL": url, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_example_survives_kill_9(docs_server: RunningServer) -> None:
    assert len({EXAMPLE, SHORT, HANGS, SHIPS}) == 4, "the README's example has changed"
    docs_server.command("FLUSHALL")
    with _start(HANGS, docs_server.url) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "started\n"
        killed.kill()
    # The second run publishes the same order again, which is recognized: there is one message.
    with _start(SHIPS, docs_server.url) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "shipping A-1 2\n"
        worker.send_signal(signal.SIGINT)
        assert worker.wait(10) == 0
        assert worker.stdout.read() == ""
