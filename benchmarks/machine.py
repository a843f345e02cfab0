"""The server, where it runs, and the facts without which figures mean little."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, cast

import redis
import redis.asyncio

from typed_rmq.embedded import find_binary

__all__ = ["CORES", "Address", "RawAsync", "RawSync", "Server", "facts", "pin", "running"]

STARTUP_SECONDS = 20.0

# Runs the server, and kills it as soon as standard input ends: also where we are killed with -9.
GUARD = '"$@" </dev/null & read -r _; kill -9 $! 2>/dev/null; wait $!'


def _cores() -> tuple[int, int] | None:
    """One core for the server and one for the client; ``None`` where processes cannot be pinned."""
    if sys.platform != "linux":
        return None
    cores = sorted(os.sched_getaffinity(0))
    # The first and the last: neighbours may be two threads of one physical core.
    return (cores[0], cores[-1]) if len(cores) > 1 else None


CORES = _cores()


def pin(core: int, pid: int = 0) -> None:
    """Keep a process, with the threads and children it starts later, on one core."""
    if sys.platform == "linux":
        threads = Path(f"/proc/{pid or 'self'}/task")
        for thread in threads.iterdir() if pid else ():
            os.sched_setaffinity(int(thread.name), {core})
        os.sched_setaffinity(pid, {core})


class RawSync(Protocol):
    """What the benchmarks call on a ``redis.Redis``."""

    def lpush(self, name: str, *values: bytes) -> int: ...
    def lpop(self, name: str) -> bytes | None: ...
    def blpop(self, keys: list[str], timeout: float) -> tuple[bytes, bytes] | None: ...
    def close(self) -> None: ...


class RawAsync(Protocol):
    """What the benchmarks call on a ``redis.asyncio.Redis``."""

    async def lpush(self, name: str, *values: bytes) -> int: ...
    async def lpop(self, name: str) -> bytes | None: ...
    async def aclose(self) -> None: ...


@dataclass(frozen=True)
class Address:
    """Where the server listens: TCP on the loopback, or a unix socket. Can be sent to children."""

    port: int
    path: str | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}" if self.path else f"redis://127.0.0.1:{self.port}/0"

    def raw(self) -> RawSync:
        """A client as a user would make it, with the client's own defaults."""
        if self.path:
            return cast("RawSync", redis.Redis(unix_socket_path=self.path))
        return cast("RawSync", redis.Redis(host="127.0.0.1", port=self.port))

    def raw_async(self) -> RawAsync:
        if self.path:
            return cast("RawAsync", redis.asyncio.Redis(unix_socket_path=self.path))
        return cast("RawAsync", redis.asyncio.Redis(host="127.0.0.1", port=self.port))


class Server:
    """A running server, and a connection of our own to ask it."""

    def __init__(self, address: Address, unix: Address) -> None:
        self.address = address
        self.unix = unix
        self._client = redis.Redis(unix_socket_path=unix.path)

    def command(self, *args: str | int | bytes) -> object:
        return self._client.execute_command(*args)

    def info(self, section: str) -> dict[str, object]:
        answer = self.command("INFO", section)
        assert isinstance(answer, dict)
        return cast("dict[str, object]", answer)

    @property
    def pid(self) -> int:
        return int(str(self.info("server")["process_id"]))

    @property
    def name(self) -> str:
        """Such as ``valkey 9.1.0``."""
        info = self.info("server")
        kind = str(info.get("server_name", "redis"))
        return f"{kind} {info.get('valkey_version', info['redis_version'])}"

    def empty(self) -> None:
        """Forget all data, but not the scripts."""
        self.command("FLUSHALL")

    def used_memory(self) -> int:
        return int(str(self.info("memory")["used_memory"]))

    def cpu_ns(self) -> int:
        """Nanoseconds of CPU time that it has spent."""
        info = self.info("cpu")
        # Of its main thread: others free memory in the background.
        names = ("used_cpu_user_main_thread", "used_cpu_sys_main_thread")
        return round(1e9 * sum(float(str(info[name])) for name in names))

    @property
    def allocator(self) -> str:
        """Such as ``jemalloc-5.3.0``, or ``libc``."""
        return str(self.info("memory")["mem_allocator"])

    def reset(self) -> None:
        """Begin to count commands anew."""
        self.command("CONFIG", "RESETSTAT")

    def calls(self) -> dict[str, tuple[int, float]]:
        """Command -> how often it ran, and its microseconds in all; those of scripts included."""
        found: dict[str, tuple[int, float]] = {}
        for key, value in self.info("commandstats").items():
            stat = cast("dict[str, float]", value)
            found[key.removeprefix("cmdstat_")] = (int(stat["calls"]), float(stat["usec"]))
        return found

    def requests(self) -> int:
        """Requests that clients sent since ``reset``, but for our own here.

        The commands inside of scripts are counted by Redis as well; none of them is one of these.
        """
        calls = self.calls()
        own = {"info", "config|resetstat", "flushall"}
        sent = ("evalsha", "eval", "blpop", "ping", "hello", "auth", "select", "script", "client")
        return sum(
            count
            for name, (count, _) in calls.items()
            if name not in own and name.split("|")[0] in sent
        )

    def close(self) -> None:
        self._client.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    binary: str | None, *, under: Sequence[str] = (), pinned: bool = True
) -> Iterator[Server]:
    """A server of our own without persistence, on the server's core; killed at the end.

    ``under`` is a command that runs it, such as ``valgrind --tool=callgrind``.
    """
    path = shutil.which(binary) if binary else str(find_binary())
    if path is None:
        raise SystemExit(f"no such server: {binary}")
    folder = Path(tempfile.mkdtemp(prefix="trmq-bench-"))
    port, sock, log = _free_port(), folder / "s.sock", folder / "log"
    options = f"--port {port} --bind 127.0.0.1 --unixsocket {sock} --dir {folder} --logfile {log}"
    before = os.sched_getaffinity(0) if sys.platform == "linux" else None
    if CORES and pinned:
        pin(CORES[0])
    try:
        guard = subprocess.Popen(
            [
                "sh",
                "-c",
                GUARD,
                "guard",
                *under,
                path,
                *options.split(),
                "--appendonly",
                "no",
                "--save",
                "",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        if sys.platform == "linux" and before is not None:
            os.sched_setaffinity(0, before)
    try:
        with contextlib.closing(Server(Address(port), Address(port, str(sock)))) as server:
            _wait(server, log)
            yield server
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Server, log: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while True:
        try:
            server.command("PING")
            return
        except (redis.ConnectionError, redis.TimeoutError):
            if time.monotonic() > deadline:
                text = log.read_text(errors="replace")[-2000:] if log.exists() else "no log"
                raise SystemExit(f"the server did not start:\n{text}") from None
            time.sleep(0.01)


def facts(server: Server) -> dict[str, str | int]:
    """What the figures depend on; nothing that tells whose machine it is."""
    return {
        "cores": os.cpu_count() or 0,
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        "server": server.name,
        **{name: version(name) for name in ("redis", "hiredis", "pydantic", "typed_rmq")},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
