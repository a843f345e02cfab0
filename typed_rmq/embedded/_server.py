"""Attach to the server of a data folder, start it if there is none, and leave it.

The rules, with the locks of :mod:`typed_rmq.embedded._guard`:

1. A user holds ``users.lock`` shared from before it looks for the server until it leaves.
2. Only the holder of ``startup.lock`` starts a server, and only with ``server.lock`` in its hand,
   which the server inherits. So there is never a second one on the same files.
3. Only the holder of ``users.lock`` exclusively stops a server: the user that leaves last or, if
   that one was killed, the guard.
4. A server that dies stays down until the next :func:`start`.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from typed_rmq.embedded import _guard
from typed_rmq.embedded._folder import data_folder, socket_path
from typed_rmq.embedded._guard import FileLock
from typed_rmq.embedded._launch import START_TIMEOUT, log_lines, start_server
from typed_rmq.errors import ConfigError, QueueUnavailable

__all__ = ["EmbeddedServer", "start"]

logger = logging.getLogger("typed_rmq.embedded")

LEAVE_TIMEOUT = 5.0
"""Seconds that the last user waits for the server to stop; after them the guard goes on."""


class EmbeddedServer:
    """A use of an embedded server, held until :meth:`release` or until the process ends.

    Made by :func:`start`; a context manager that releases it. A forked child has a use of its own
    from the fork on, and may release it.

    Attributes:
        url: the server's address for any Redis client, ``unix:///…/redis.sock``.
        socket_path: the unix socket, open to this user only.
        data_folder: the folder with the append-only file, ``server.log``, and the lock files.
        binary: the program that runs as the server.
    """

    url: str
    socket_path: Path
    data_folder: Path
    binary: Path

    def __init__(self, folder: Path, socket: Path, binary: Path, users: FileLock) -> None:
        self.data_folder = folder
        self.socket_path = socket
        self.binary = binary
        self.url = f"unix://{quote(str(socket))}"
        self._users: FileLock | None = users
        _in_use[self] = users

    def __repr__(self) -> str:
        state = "" if self._users is not None else ", released"
        return f"EmbeddedServer({str(self.data_folder)!r}{state})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Leave the server. The last user of all processes stops it and waits until it is gone.

        The shutdown is a clean one: all that was written is in the append-only file. If it takes
        more than 5 seconds, the server's guard goes on with it and this call returns. Repeating
        it does nothing; it never raises for what happens to the server or its folder.

        Example:
            >>> import tempfile
            >>> from typed_rmq.embedded import start
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     server = start(folder)
            ...     server.release()
            ...     server.socket_path.exists()
            False
        """
        users, self._users = self._users, None
        _in_use.pop(self, None)
        if users is not None:
            try:
                _leave(self.data_folder, self.socket_path, users)
            except OSError as error:  # the folder was removed, or no file can be opened
                logger.debug("left %s to its guard: %s", self.data_folder, error)
            finally:
                users.close()


def start(folder: Path | str | None = None) -> EmbeddedServer:
    """Attach to the embedded server of a data folder; start it if it does not run.

    Every process that gives the same folder gets the same server. It is a real Valkey or Redis
    (see :func:`~typed_rmq.embedded.find_binary`) on a unix socket, without a TCP port, with its
    append-only file synced once a second. A server that was killed, or a machine that went down,
    is recovered from by the next call. Safe to call from several threads; blocks until the server
    answers (about 50 ms for a small one, longer while it loads a large file).

    Args:
        folder: where the data is. Default: the variable ``TYPED_RMQ_DATA`` if set, else
            ``$XDG_DATA_HOME/typed_rmq`` or ``~/.local/share/typed_rmq``, on macOS
            ``~/Library/Application Support/typed_rmq``. Made if needed, private to the user.

    Raises:
        ConfigError: the folder cannot be used, or no server is installed (it says what to install).
        QueueUnavailable: the server did not start (with its own log lines), or does not answer.

    Example:
        >>> import tempfile
        >>> from typed_rmq.embedded import start
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with start(folder) as first, start(folder) as second:
        ...         first.url == second.url
        True
    """
    place = data_folder(folder)
    socket = socket_path(place)
    try:
        users = FileLock(str(place / "users.lock"))
        try:
            binary = _attach(place, socket, users)
        except BaseException:
            users.close()  # a server that nobody else uses is then stopped by its guard
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot use {place} as the embedded server's data folder: {error}; "
            "choose a folder on a local disk that this user can write to"
        ) from error
    return EmbeddedServer(place, socket, binary, users)


def _attach(folder: Path, socket: Path, users: FileLock) -> Path:
    """Take ``users`` shared, see that server and guard run, and return the server's program."""
    log_start = 0
    for _ in range(3):  # again if the server that was found dies meanwhile
        startup = FileLock(str(folder / "startup.lock"))
        try:
            if not startup.wait(exclusive=True, timeout=START_TIMEOUT):
                raise QueueUnavailable(
                    f"another process is starting or leaving the embedded server of {folder} and "
                    f"has not finished for {START_TIMEOUT:.0f} s; is it suspended?"
                )
            if not users.wait(exclusive=False, timeout=START_TIMEOUT):
                raise QueueUnavailable(
                    f"the embedded server of {folder} is shutting down and has not finished for "
                    f"{START_TIMEOUT:.0f} s; see {folder / 'server.log'}"
                )
            started, log_start = start_server(folder, socket)
        finally:
            startup.drop()
        binary = _wait_ready(folder, socket, record=started)
        if binary is not None:
            return binary
        if started:
            break
    raise QueueUnavailable(
        f"the embedded server of {folder} did not start; its log says:\n"
        f"{log_lines(folder, log_start)}"
    )


def _wait_ready(folder: Path, socket: Path, *, record: bool) -> Path | None:
    """Wait for the server's answer; return its program, or None if the server is dead.

    With ``record`` the server's process id is written into ``server.lock``.
    """
    info = _first_answer(folder, socket)
    if info is None:
        return None
    facts = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    if "executable" not in facts:
        raise QueueUnavailable(f"the embedded server of {folder} refuses to work: {info}")
    if record:
        # For stopping it when its folder, and so its socket, was removed.
        with (folder / "server.lock").open("r+", encoding="ascii") as file:
            file.write(facts["process_id"])
    return Path(facts["executable"])


def _first_answer(folder: Path, socket: Path) -> str | None:
    """What the server tells of itself as soon as it is ready; None if it is dead."""
    deadline = time.monotonic() + START_TIMEOUT
    pause = 0.002
    while True:
        try:
            pong, info = _guard.ask(str(socket), "PING", "INFO server")
        except OSError as error:
            if not _guard.is_held(str(folder / "server.lock")):
                return None
            if time.monotonic() > deadline:
                raise QueueUnavailable(
                    f"a server holds {folder} but does not answer at {socket} ({error}); is it "
                    "suspended, or does it run on another machine that shares this folder?"
                ) from error
        else:
            # Loading a large file takes as long as it takes; giving up would only begin it anew.
            if not pong.startswith((b"-LOADING", b"-BUSY")):
                return os.fsdecode(info)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _leave(folder: Path, socket: Path, users: FileLock) -> None:
    """Let go of ``users`` and, if it was the last hold, stop the server or see it stopped."""
    startup = FileLock(str(folder / "startup.lock"))
    # Two users that leave together go one by one, so that the second knows that it is the last.
    startup.wait(exclusive=True, timeout=LEAVE_TIMEOUT)
    server = FileLock(str(folder / "server.lock"))
    probe = FileLock(str(folder / "users.lock"))
    try:
        users.close()
        if probe.take(exclusive=True):
            _guard.stop(server, str(socket), LEAVE_TIMEOUT)
        elif not probe.take(exclusive=False):
            # Not shared by others, so the guard has it and is at work.
            server.wait(exclusive=False, timeout=LEAVE_TIMEOUT)
    finally:
        server.drop()
        probe.drop()
        startup.drop()


_in_use: dict[EmbeddedServer, FileLock] = {}
"""The uses of this process. Strong references: a use ends by release or exit, not by oblivion."""


def _release_all() -> None:
    for server in list(_in_use):
        server.release()


def _after_fork_in_child() -> None:
    """Give the child its own hold on each server that it inherited a use of.

    A copied file shares its lock with the parent's, so the child would count as no user of its
    own, and what the parent holds for a moment would stay locked for the child's lifetime.
    """
    used = set(_in_use.values())
    for lock in list(_guard.open_locks):
        if lock in used:
            # If no file can be opened the inherited hold is kept: shared, but a hold.
            with contextlib.suppress(OSError):
                lock.renew()
        else:
            lock.close()


atexit.register(_release_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
