"""The harness checks itself: leftovers of a test are found, and servers end with their user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.servers import RunningServer

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent


def test_the_server_is_the_one_it_says(server: RunningServer, client: redis.Redis) -> None:
    info = client.info("server")
    name = "valkey_version" if server.kind == "valkey" else "redis_version"
    expected = {"valkey": "9.", "redis7": "7.", "redis6": "6.2"}
    assert str(info[name]).startswith(expected[server.kind])
    assert server.keys() == set()


LEAKS = {
    "thread": "threading.Thread(target=time.sleep, args=(2,), daemon=True).start()",
    "task": "asyncio.run(leave_a_task())",
    "descriptor": "kept.append(socket.socket())",
    "key": "server.command('SET', 'mine', '1')",
}

LEAKY = """
import asyncio, socket, threading, time
kept = []
async def leave_a_task():
    kept.append(asyncio.ensure_future(asyncio.sleep(60)))
    await asyncio.sleep(0)
def test_leaves(server):
    {what}
def test_keeps_clean(server):
    server.command("SET", "trmq:q:x", "1")
def test_finds_no_key_of_others(server):
    assert server.keys() == set()
"""


@pytest.mark.parametrize("what", LEAKS)
def test_leaks_are_found(what: str, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(LEAKY.format(what=LEAKS[what]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--servers=valkey"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed, 1 error" in done.stdout, done.stdout
    assert f"left behind:\n  {what}" in done.stdout, done.stdout


def test_a_server_dies_with_the_test_process_on_kill_9() -> None:
    code = "from tests.servers import start; s = start(); print(s.pid, s.folder, flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        os.kill(int(pid), 0)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while True:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < deadline, "the server outlived the process that started it"
        time.sleep(0.01)
    while Path(folder).exists():
        assert time.monotonic() < deadline, "its folder was left"
        time.sleep(0.01)
