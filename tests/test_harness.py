"""The harness checks itself: leftovers of a test are found, and servers end with their user."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.servers import RunningServer

ROOT = Path(__file__).parent.parent


def test_the_server_is_the_one_it_says(server: RunningServer, client: redis.Redis) -> None:
    info = client.info("server")
    name = "valkey_version" if server.kind == "valkey" else "redis_version"
    expected = {"valkey": "9.", "redis7": "7.", "redis6": "6.2"}
    assert str(info[name]).startswith(expected[server.kind])
    assert server.keys() == set()


LEAKS = {
    "threading": ("thread ", "threading.Thread(target=time.sleep, args=(2,), daemon=True).start()"),
    "a_task": ("task ", "asyncio.run(leave_a_task())"),
    "a_socket": ("descriptor ", "kept.append(socket.socket())"),
    "a_client": ("descriptor ", "kept.append(server.client()); kept[-1].ping()"),
    "a_key": ("key 'mine'", "server.command('SET', 'mine', '1')"),
    "a_key_after_a_cut": (
        "key 'mine'",
        "server.command('SET', 'mine', '1'); cut(server)",
    ),
    "a_key_that_a_child_made": (
        "key 'mine'",
        "child(lambda: server.keys() or server.command('SET', 'mine', '1'))",
    ),
}
"""Per leak: what is said of it, and the test that leaves it."""

LEAKY = """
import asyncio, os, pytest, redis, socket, threading, time
kept = []
async def leave_a_task():
    kept.append(asyncio.ensure_future(asyncio.sleep(60)))
    await asyncio.sleep(0)
def cut(server):
    server.command("CLIENT", "KILL", "TYPE", "normal")
def child(call):
    if not os.fork():
        call()
        os._exit(0)
    assert os.wait()[1] == 0
"""

PAIR = """
def test_leaves_{name}(server):
    {what}
def test_keeps_clean_after_{name}(server):
    assert server.keys() == set()
    server.command("SET", "trmq:q:x", "1")
"""


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of a module whose every second test leaves something."""
    folder = tmp_path_factory.mktemp("leaky")
    (folder / "conftest.py").write_text("from tests.conftest import *")
    pairs = "".join(PAIR.format(name=name, what=what) for name, (_, what) in LEAKS.items())
    (folder / "test_leaky.py").write_text(LEAKY + pairs)
    options = ("-q", "-W", "ignore::DeprecationWarning", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--servers=valkey"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SETTLE_SECONDS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_found(name: str, leaky: str) -> None:
    found = re.search(rf"ERROR at teardown of test_leaves_{name}\[valkey\] _+\n(.*)\n(.*)", leaky)
    assert found is not None, leaky
    assert found[1] == "The test left behind:", leaky
    assert found[2].startswith(f"  {LEAKS[name][0]}"), leaky


def test_nothing_else_is_found(leaky: str) -> None:
    """Not in the tests that leave nothing, and each of the others is told once."""
    assert f"{2 * len(LEAKS)} passed, {len(LEAKS)} errors" in leaky, leaky


@pytest.mark.slow
def test_spread_runs_each_test_once_on_one_of_its_servers() -> None:
    def collected(*options: str) -> list[str]:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"),
                *("tests/conformance/test_listing.py", *options),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return [line for line in done.stdout.splitlines() if "::" in line]

    everywhere, spread = collected(), collected("--spread")
    assert set(spread) <= set(everywhere)
    kinds = [kind for kind in ("valkey", "redis7", "redis6") if any(kind in x for x in everywhere)]
    assert all(any(kind in test for test in spread) for kind in kinds)
    without = [re.sub("|".join(kinds), "", test) for test in spread]
    assert len(set(without)) == len(without)
    assert set(without) == {re.sub("|".join(kinds), "", test) for test in everywhere}


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
