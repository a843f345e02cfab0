"""The guard: stops the server of a data folder when nobody uses it any more.

It is a small detached process per data folder. It waits in the kernel, without polling, for the
exclusive lock on ``users.lock``, and gets it when the last user has let go of its shared lock,
by leaving or by having been killed. Then it shuts the server down and ends.

This file is run by its path, with neither the package nor site-packages, so that the guard is up
in 20 ms and stays small. So it imports only the standard library and holds what the guard and
the users share:

``startup.lock``
    exclusive while a process starts a server or leaves; never held for long.
``users.lock``
    shared by every user for as long as it uses the server; exclusive while the server is being
    stopped. Who holds it shared can rely on nobody stopping the server, and a newcomer waits for
    a stop in progress. Always taken after ``startup.lock`` where both are held.
``server.lock``
    inherited and held exclusively by the server process itself: held means that it lives. Its
    content is the server's process id.
``guard.lock``
    the same for the guard.

A lock belongs to an open file, and the kernel drops it when the last process that has the file
open is gone. So none of this needs cleaning up after a crash or a reboot.
"""

# Without pathlib, which would double the guard's start-up time.
# ruff: noqa: PTH106, PTH118, PTH120

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
import time

__all__ = ["FileLock", "ask", "is_held", "open_locks", "stop"]

open_locks: set[FileLock] = set()
"""Every lock file that this process has open; a forked child must not keep copies of them."""


class FileLock:
    """An open lock file, closed in programs that this process runs. Use from one thread."""

    def __init__(self, path: str) -> None:
        # Read and write: an exclusive lock on NFS needs a file open for writing.
        self.path = path
        self.fd: int = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        open_locks.add(self)

    def take(self, *, exclusive: bool) -> bool:
        """Try to take the lock; say whether it is held now."""
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(self.fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self, *, exclusive: bool, timeout: float) -> bool:
        """Try for ``timeout`` seconds; say whether it is held now."""
        deadline = time.monotonic() + timeout
        pause = 0.001
        while not self.take(exclusive=exclusive):
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
        return True

    def renew(self) -> None:
        """Hold it shared through an open file of one's own, not through one inherited by a fork."""
        own = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(own, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            os.close(own)
            raise
        inherited, self.fd = self.fd, own
        os.close(inherited)

    def close(self) -> None:
        """Let go, unless another process has inherited the open file. Harmless when repeated."""
        fd, self.fd = self.fd, -1
        open_locks.discard(self)
        if fd >= 0:
            os.close(fd)

    def drop(self) -> None:
        """Let go, also where another process has inherited the open file."""
        if self.fd >= 0:
            fcntl.flock(self.fd, fcntl.LOCK_UN)
            self.close()


def is_held(path: str) -> bool:
    """Whether some process holds the lock file exclusively."""
    probe = FileLock(path)
    try:
        return not probe.take(exclusive=False)
    finally:
        probe.drop()


def ask(socket_path: str, *commands: str, timeout: float = 1.0) -> list[bytes]:
    """Send plain commands to a server and return its replies; errors begin with ``-``.

    Raises:
        OSError: no connection, no answer within ``timeout`` seconds, or hung up instead of one.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(socket_path)
        connection.sendall("".join(f"{command}\r\n" for command in commands).encode())
        with connection.makefile("rb") as replies:
            answers: list[bytes] = []
            for _ in commands:
                line = replies.readline()
                if not line:
                    raise ConnectionResetError("the server hung up")
                if line.startswith(b"$"):
                    line = replies.read(int(line[1:]) + 2)
                answers.append(line.rstrip(b"\r\n"))
            return answers


def stop(server: FileLock, socket_path: str, timeout: float | None) -> bool:
    """Shut the server down and wait until it is gone; say whether it is.

    Only for a holder of ``users.lock`` exclusively. The shutdown is a clean one: the append-only
    file is written and synced, and no other dump is made. A server that cannot be asked over its
    socket, as its folder was removed, gets SIGTERM, which does the same.

    Args:
        server: ``server.lock``; held shared on return if the server is gone.
        socket_path: the server's socket.
        timeout: seconds to wait at most; None waits for as long as it takes.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    attempt = 0.05
    while not server.take(exclusive=False):
        try:
            ask(socket_path, "SHUTDOWN NOSAVE")
        except ConnectionResetError:
            pass  # the answer to a shutdown that succeeds
        except (FileNotFoundError, ConnectionRefusedError):
            _terminate(server)
        except OSError:
            pass  # too busy to answer: asked again
        left = attempt if deadline is None else min(attempt, deadline - time.monotonic())
        if server.wait(exclusive=False, timeout=left):
            break
        if deadline is not None and time.monotonic() > deadline:
            return False
        attempt = min(attempt * 2, 2.0)
    folder = os.path.dirname(socket_path)
    if folder != os.path.dirname(server.path):  # the short folder of a long path
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return True


def _terminate(server: FileLock) -> None:
    # The lock is held, so the process that wrote its id here still lives. No id: it has not
    # come so far as to listen, and is asked again.
    pid = os.pread(server.fd, 20, 0).strip()
    if pid.isdigit():
        with contextlib.suppress(OSError):
            os.kill(int(pid), signal.SIGTERM)


def main(folder: str, socket_path: str, guard_fd: int) -> None:
    """Be the guard: ``guard_fd`` is the inherited, locked ``guard.lock``."""
    if os.fork():
        os._exit(0)  # the one who started it collects this process; init collects the guard
    users = FileLock(os.path.join(folder, "users.lock"))
    server = FileLock(os.path.join(folder, "server.lock"))
    fcntl.flock(users.fd, fcntl.LOCK_EX)
    stop(server, socket_path, None)
    # In this order: a newcomer that waits for users.lock must then see that the guard is gone.
    os.close(guard_fd)
    server.close()
    users.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
