"""Run the server and its guard as processes of their own, which outlive the one that starts them.

Each inherits its lock file from here, locked, and so holds the lock for exactly as long as it
lives, whatever becomes of the starter.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from typed_rmq.embedded import _guard
from typed_rmq.embedded._binary import Binary, find
from typed_rmq.embedded._folder import make_socket_folder
from typed_rmq.embedded._guard import FileLock
from typed_rmq.errors import ConfigError, QueueUnavailable

__all__ = ["START_TIMEOUT", "log_lines", "start_server"]

logger = logging.getLogger("typed_rmq.embedded")

START_TIMEOUT = 30.0
"""Seconds for a server to answer, or for another process to finish starting or stopping one."""

LOG_LIMIT = 1 << 20
"""Bytes of the server's log above which a start puts it aside."""


def start_server(folder: Path, socket: Path) -> tuple[bool, int]:
    """Start what does not run, server and guard; the caller holds ``startup.lock``.

    Returns:
        Whether the server was started, and where its part of the log begins.
    """
    server = FileLock(str(folder / "server.lock"))
    guard = FileLock(str(folder / "guard.lock"))
    launch: subprocess.Popen[bytes] | None = None
    try:
        binary = find() if server.take(exclusive=True) else None
        if guard.take(exclusive=True):
            launch = _launch_guard(folder, socket, guard)
        if binary is None:
            return False, 0
        os.ftruncate(server.fd, 0)  # the process id of the one before
        return True, _launch_server(binary, folder, socket, server)
    finally:
        server.close()
        guard.close()
        if launch is not None:
            _see_off_guard(folder, launch)


def _launch_guard(folder: Path, socket: Path, lock: FileLock) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(  # noqa: S603  # this file and this Python
            [sys.executable, "-I", "-S", _guard.__file__, str(folder), str(socket), str(lock.fd)],
            pass_fds=(lock.fd,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )
    except OSError as error:
        _warn_no_guard(folder, str(error))
        return None


def _see_off_guard(folder: Path, launch: subprocess.Popen[bytes]) -> None:
    """Wait for the launcher, which leaves the guard behind and ends."""
    try:
        status = launch.wait(timeout=10)
    except subprocess.TimeoutExpired:
        launch.kill()
        launch.wait()
        status = -1
    if status:
        _warn_no_guard(folder, f"{sys.executable} ended with status {status}")


def _warn_no_guard(folder: Path, reason: str) -> None:
    # Seen where Python is embedded in another program and sys.executable is not a Python.
    logger.warning(
        "the embedded server of %s has no guard (%s): it is stopped by its last user as ever, "
        "but keeps running if all its users are killed",
        folder,
        reason,
    )


def _launch_server(binary: Binary, folder: Path, socket: Path, lock: FileLock) -> int:
    """Run the server, which inherits ``server.lock``; return where its part of the log begins."""
    if binary.version < (7, 0) and (folder / "appendonlydir").exists():
        raise ConfigError(
            f"the data in {folder} was written by Redis 7 or later, and {binary.path} is older and "
            "would not see it; install the newer server or use another data folder"
        )
    make_socket_folder(folder, socket)
    log = folder / "server.log"
    log_start = log.stat().st_size if log.exists() else 0
    if log_start > LOG_LIMIT:
        log.replace(folder / "server.log.1")
        log_start = 0
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "yes",
        "pidfile": "server.pid",  # else a daemon writes /var/run/redis.pid
        "logfile": "server.log",
    }
    launched = subprocess.run(  # noqa: S603  # the binary that was found
        [binary.path, *(part for name, value in options.items() for part in (f"--{name}", value))],
        pass_fds=(lock.fd,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        umask=0o077,
        env=os.environ | {"LC_ALL": "C"},  # a server refuses to start with an unknown locale
        start_new_session=True,
        timeout=START_TIMEOUT,
        check=False,
    )
    if launched.returncode:
        raise QueueUnavailable(
            f"{binary.path} did not start on {folder}:\n"
            f"{launched.stderr.decode(errors='replace').strip()}"
        )
    logger.debug("started %s on %s", binary.path, folder)
    return log_start


def log_lines(folder: Path, offset: int) -> str:
    """The last lines that the server has logged since ``offset``."""
    try:
        with (folder / "server.log").open("rb") as file:
            file.seek(offset)
            lines = file.read(1 << 16).decode(errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(line for line in lines[-12:] if line.strip()) or "(nothing)"
