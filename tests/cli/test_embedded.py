"""embedded start, stop, status: a server that lives on without a program that uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from typed_rmq import Queue
from typed_rmq.embedded import start, status


@pytest.fixture
def folder(shell: Shell) -> Iterator[str]:
    folder = shell.folder / "data"
    yield str(folder)
    shell("embedded", "stop", "--folder", str(folder))
    assert not status(folder).running


@pytest.mark.slow
def test_it_is_started_kept_looked_at_and_stopped(shell: Shell, folder: str) -> None:
    at = ("--folder", folder)
    before = shell("embedded", "status", *at)
    assert (before.code, "not running" in before.out) == (3, True)
    assert not Path(folder).exists(), "looking makes nothing"
    url = shell.process("embedded", "start", *at).out.strip()
    with Queue[int]("q", url) as queue:
        queue.publish(1)
    assert shell.process("embedded", "start", *at).out.strip() == url, "again: the same one"
    record = shell("embedded", "status", *at, "--json").records[0]
    assert (record["running"], record["kept"], record["url"]) == (True, True, url)
    assert shell("stats", "q", "--redis", url).rows[0]["ready"] == "1"
    assert shell("embedded", "stop", *at).code == 0
    assert not status(folder).running
    assert shell("embedded", "stop", *at).code == 3
    # Its data is there at the next start.
    url = shell.process("embedded", "start", *at).out.strip()
    assert shell("stats", "q", "--redis", url).rows[0]["ready"] == "1"


@pytest.mark.slow
def test_stop_does_not_take_it_from_others(shell: Shell, folder: str) -> None:
    shell.process("embedded", "start", "--folder", folder)
    with start(folder):
        done = shell("embedded", "stop", "--folder", folder)
        assert (done.code, "other programs use" in done.err) == (0, True)
        assert status(folder).running
    assert not status(folder).running


def test_a_folder_that_cannot_be_used_is_said_in_one_line(shell: Shell) -> None:
    (shell.folder / "file").write_text("")
    done = shell("embedded", "start", "--folder", str(shell.folder / "file"))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "data folder" in done.err


def test_without_an_address_the_embedded_server_is_used_and_told(shell: Shell) -> None:
    shell.env.pop("REDIS_URL")
    done = shell.process("stats", env={"TYPED_RMQ_DATA": str(shell.folder / "own")})
    assert done.code == 0
    assert "using the embedded server" in done.err
