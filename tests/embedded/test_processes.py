"""Several processes share one server, and any of them may be killed at any time."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from tests.embedded.conftest import (
    User,
    eventually,
    guard_lives,
    guard_pid,
    running,
    server_lives,
    server_pid,
)

Users = Callable[[int], list[User]]


def test_eight_processes_that_start_at_once_find_one_server(folder: Path, users: Users) -> None:
    crowd = users(8)
    for user in crowd:
        user.send("start", str(folder))
    assert len({user.answer() for user in crowd}) == 1
    for user in crowd:
        user.tell("ask", "INCR visitors")
    assert crowd[0].tell("ask", "GET visitors") == "8"
    log = (folder / "server.log").read_text()
    assert log.count("Ready to accept connections") == 1
    for user in crowd:
        assert server_lives(folder)
        user.leave()
    assert not server_lives(folder)


def test_kill_of_the_starter_leaves_the_server_to_the_others(folder: Path, users: Users) -> None:
    starter, other = users(2)
    starter.tell("start", str(folder))
    other.tell("start", str(folder))
    before = server_pid(folder)
    starter.tell("ask", "SET sku A")
    starter.kill()
    assert other.tell("ask", "GET sku") == "A"
    assert server_pid(folder) == before
    other.leave()
    assert not server_lives(folder)


def test_kill_of_another_user_leaves_the_server_to_the_starter(folder: Path, users: Users) -> None:
    starter, other = users(2)
    starter.tell("start", str(folder))
    other.tell("start", str(folder))
    other.kill()
    assert starter.tell("ask", "PING") == "+PONG"
    starter.tell("release")
    assert not server_lives(folder)


def test_kill_of_all_users_stops_the_server_and_keeps_the_data(folder: Path, users: Users) -> None:
    first, second, later = users(3)
    first.tell("start", str(folder))
    second.tell("start", str(folder))
    second.tell("ask", "SET sku A")
    first.kill()
    second.kill()
    assert eventually(lambda: not server_lives(folder))
    assert eventually(lambda: not guard_lives(folder))
    later.tell("start", str(folder))
    assert later.tell("ask", "GET sku") == "A"


def test_kill_of_the_server_is_mended_by_the_next_start(folder: Path, users: Users) -> None:
    user, newcomer = users(2)
    user.tell("start", str(folder))
    user.tell("ask", "SET sku A")
    os.kill(server_pid(folder), signal.SIGKILL)
    assert eventually(lambda: not server_lives(folder))
    assert (folder / "redis.sock").exists(), "a stale socket is part of the case"
    user.tell("start", str(folder))
    assert user.tell("ask", "GET sku") == "A"
    newcomer.tell("start", str(folder))
    newcomer.tell("ask", "SET sku B")
    os.kill(server_pid(folder), signal.SIGKILL)
    newcomer.tell("start", str(folder))
    assert user.tell("ask", "GET sku") == "B", "an old address leads to the new server"
    newcomer.leave()
    assert server_lives(folder)


def test_kill_of_everything_at_once_is_recovered_from(folder: Path, users: Users) -> None:
    user, later = users(2)
    user.tell("start", str(folder))
    user.tell("ask", "SET sku A")
    for pid in (guard_pid(folder), server_pid(folder), user.process.pid):
        os.kill(pid, signal.SIGKILL)
    later.tell("start", str(folder))
    assert later.tell("ask", "GET sku") == "A"
    assert guard_lives(folder)


def test_without_its_guard_the_last_user_still_stops_the_server(folder: Path, users: Users) -> None:
    (user,) = users(1)
    user.tell("start", str(folder))
    os.kill(guard_pid(folder), signal.SIGKILL)
    assert eventually(lambda: not guard_lives(folder))
    user.leave()
    assert not server_lives(folder)


def test_the_next_start_replaces_a_killed_guard(folder: Path, users: Users) -> None:
    user, newcomer = users(2)
    user.tell("start", str(folder))
    os.kill(guard_pid(folder), signal.SIGKILL)
    assert eventually(lambda: not guard_lives(folder))
    newcomer.tell("start", str(folder))
    assert guard_lives(folder)
    user.kill()
    newcomer.kill()
    assert eventually(lambda: not server_lives(folder))


def test_ctrl_c_in_the_starters_terminal_is_not_for_the_server(folder: Path, users: Users) -> None:
    starter, other = users(2)
    starter.tell("start", str(folder))
    other.tell("start", str(folder))
    starter.kill(signal.SIGINT)
    assert other.tell("ask", "PING") == "+PONG"
    assert guard_lives(folder)


def test_f24_a_forked_child_is_a_user_of_its_own(folder: Path, users: Users) -> None:
    (parent,) = users(1)
    parent.tell("start", str(folder))
    child = parent.tell("fork", False)
    assert isinstance(child, int)
    parent.process.kill()
    parent.process.wait()
    # The guard would have stopped it by now, had the parent been the last.
    assert not eventually(lambda: not server_lives(folder), timeout=0.3)
    os.kill(child, signal.SIGKILL)
    assert eventually(lambda: not server_lives(folder))


def test_f24_a_forked_child_may_leave_before_or_after_its_parent(
    folder: Path, users: Users
) -> None:
    (parent,) = users(1)
    parent.tell("start", str(folder))
    gone = parent.tell("fork", True)
    assert server_lives(folder), "the child's release is not the parent's"
    stays = parent.tell("fork", False)
    assert isinstance(gone, int)
    assert isinstance(stays, int)
    parent.tell("release")
    assert server_lives(folder)
    os.kill(stays, signal.SIGKILL)
    assert eventually(lambda: not server_lives(folder)), "the one that left does not count"
    os.kill(gone, signal.SIGKILL)


def test_f24_a_fork_during_a_start_keeps_no_lock(folder: Path, users: Users) -> None:
    (user,) = users(1)
    assert user.tell("fork_with_lock", str(folder / "startup.lock")) is True


def test_a_removed_folder_does_not_keep_its_server_alive(folder: Path, users: Users) -> None:
    (user,) = users(1)
    user.tell("start", str(folder))
    server, guard = server_pid(folder), guard_pid(folder)
    shutil.rmtree(folder)
    user.leave()
    assert eventually(lambda: not running(server))
    assert eventually(lambda: not running(guard))


def test_starting_and_leaving_all_the_time_never_fails(folder: Path, users: Users) -> None:
    crowd = users(4)
    for user in crowd:
        user.send("churn", str(folder), 12)
    for user in crowd:
        user.answer()
    assert not server_lives(folder)
    crowd[0].tell("start", str(folder))
    assert crowd[0].tell("ask", "GET churned") == "48"
