"""dashboard: the command starts it; what it shows is tested in tests/dashboard."""

from __future__ import annotations

import signal
import urllib.request
from urllib.error import URLError

import pytest

from tests.cli.conftest import Shell, until
from tests.servers import free_port
from typed_rmq import Queue


@pytest.mark.slow
def test_it_is_served_until_it_is_told_to_end(shell: Shell) -> None:
    with Queue[int]("orders-eu", shell.url) as queue:
        queue.publish(1)
    port = free_port()
    process = shell.start("dashboard", "--port", str(port))

    def page() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return answer.read().decode()
        except URLError:
            return ""

    until(lambda: "orders-eu" in page())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_it_is_not_opened_to_everybody(shell: Shell) -> None:
    done = shell("dashboard", "--host", "0.0.0.0")
    assert done.code == 2
    assert "token" in done.err.splitlines()[-1]
    done = shell("dashboard", "tests.cli.app:ship")
    assert (done.code, "is no Queue" in done.err) == (2, True)
