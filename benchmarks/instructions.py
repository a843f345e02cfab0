"""``make bench-check``: instructions, requests, and bytes for each message, beside the saved ones.

Time depends on what else a machine is doing, these hardly: a slower path is seen on any machine.

Three runs of the same work, by a child process: one counts what the server was sent and sent,
with both sides as they are; one the instructions of the server, one those of the client, with the
side in question under callgrind.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import platform
import select
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

import redis

from typed_rmq import Connection, Queue

from . import baseline as baselines
from . import callgrind
from .baseline import Baseline, compare
from .callgrind import Callgrind
from .machine import RawSync, Server, running
from .payload import Order, Orders

__all__ = ["FULL", "OPERATIONS", "RESULTS", "Sizes", "measure", "work"]

RESULTS = Path(__file__).parent / "results" / "instructions.json"
DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
OPERATIONS = ("LPUSH", "LPOP", "publish one", "consume one", "publish_many", "loop")
BATCH = 500
WARM = 50
PATIENCE = 120.0
"""Seconds for which a client waits for a server that callgrind slows down."""

CHILD = (sys.executable, "-c", "from benchmarks.instructions import work; work()")


@dataclass(frozen=True)
class Sizes:
    """How many messages: one a call, and in batches; and how often the loop is run.

    What a loop's keeper does beside it depends on the time, and a busy machine only adds to it: the
    least of some runs is what repeats.
    """

    single: int
    many: int
    loops: int = 1

    def of(self, operation: str) -> int:
        return self.many if operation in ("publish_many", "loop") else self.single

    def times(self, operation: str) -> int:
        return self.loops if operation == "loop" else 1


FULL = Sizes(300, 2_000, 4)

# ------------------------------------------------------------------- the child


class Work:
    """The operations, each in two steps: what is not counted, and what is."""

    def __init__(self, url: str) -> None:
        self._orders = Orders()
        self._queue = Queue[Order]("bench", Connection(url, retry_budget=PATIENCE))
        self._client = redis.Redis.from_url(url, socket_timeout=PATIENCE)
        self._raw = cast("RawSync", self._client)

    def prepare(self, operation: str, n: int) -> Callable[[], None]:
        prepare: dict[str, Callable[[int], Callable[[], None]]] = {
            "LPUSH": self._lpush,
            "LPOP": self._lpop,
            "publish one": self._publish,
            "consume one": self._consume_one,
            "publish_many": self._publish_many,
            "loop": self._loop,
        }
        self._client.execute_command("FLUSHALL")  # which leaves the scripts
        return prepare[operation](n)

    def _lpush(self, n: int) -> Callable[[], None]:
        items, lpush = self._orders.raw(n), self._raw.lpush

        def run() -> None:
            for item in items:
                lpush("raw", item)

        return run

    def _lpop(self, n: int) -> Callable[[], None]:
        lpop = self._raw.lpop
        self._raw.lpush("raw", *self._orders.raw(n))

        def run() -> None:
            for _ in range(n):
                lpop("raw")

        return run

    def _publish(self, n: int) -> Callable[[], None]:
        items, publish = self._orders.models(n), self._queue.publish

        def run() -> None:
            for item in items:
                publish(item)

        return run

    def _publish_many(self, n: int) -> Callable[[], None]:
        items, publish_many = self._orders.models(n), self._queue.publish_many

        def run() -> None:
            publish_many(items, batch=BATCH)

        return run

    def _consume_one(self, n: int) -> Callable[[], None]:
        return self._consuming(n, 1)

    def _loop(self, n: int) -> Callable[[], None]:
        return self._consuming(n, BATCH)

    def _consuming(self, n: int, prefetch: int) -> Callable[[], None]:
        self._queue.publish_many(self._orders.models(n))

        def run() -> None:
            # Nothing is cut by the time that it takes, which a busy machine adds to.
            loop = self._queue.consume(until_empty=True, prefetch=prefetch, ack_linger=PATIENCE)
            seen = sum(1 for _ in loop)
            assert seen == n, f"{seen} of {n}"

        return run


def work() -> None:
    """The child: ``operation<TAB>n`` prepares, the next line runs it; each is answered."""
    # That this server may lose messages is known, and that it is emptied between slices.
    logging.basicConfig(level=logging.CRITICAL)
    jobs = Work(sys.argv[1])
    for operation in OPERATIONS:  # code that has run before is the code that counts
        jobs.prepare(operation, WARM)()
    print(os.getpid(), flush=True)
    while line := _awaited_line():
        operation, _, n = line.rstrip("\n").partition("\t")
        run = jobs.prepare(operation, int(n))
        gc.collect()
        print("ready", flush=True)
        _awaited_line()
        run()
        print("done", flush=True)


def _awaited_line() -> str:
    # Waking up often, since vgdb is only heard by a process that runs. One line comes at a time.
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        pass
    return sys.stdin.readline()


class Worker:
    """The child, seen from here."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = int(self._answer())

    def prepare(self, operation: str, n: int) -> None:
        self._say(f"{operation}\t{n}")

    def run(self) -> None:
        self._say("go")

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the measured process ended: {self._process.wait()}")
        return answer


@contextlib.contextmanager
def _worker(server: Server, child: Sequence[str], under: Sequence[str] = ()) -> Iterator[Worker]:
    process = subprocess.Popen(
        [*under, *child, server.unix.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if under else None,
        text=True,
        cwd=Path(__file__).parent.parent,
        # Sets and dicts in the same order each time.
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    with process:
        try:
            yield Worker(process)
        finally:
            process.kill()


# ------------------------------------------------------------------- measuring


Counts = Iterator[tuple[str, float]]


def traffic(
    sizes: Sizes, operations: Sequence[str] = OPERATIONS, child: Sequence[str] = CHILD
) -> Counts:
    """Requests, commands with those inside of scripts, and bytes on the wire, a message."""
    with running(None, pinned=False) as server, _worker(server, child) as worker:

        def count(operation: str) -> dict[str, float]:
            server.reset()
            worker.run()
            info, calls = server.info("stats"), server.calls()
            sent = {name: n for name, (n, _) in calls.items() if name not in _OWN}
            raw = operation in ("LPUSH", "LPOP")
            return {
                "requests": sum(n for name, n in sent.items() if raw or name in _REQUESTS),
                "commands": sum(sent.values()),
                "bytes in": int(str(info["total_net_input_bytes"])),
                "bytes out": int(str(info["total_net_output_bytes"])),
            }

        yield from _each(worker, sizes, operations, count)


_OWN = ("config|resetstat", "info")
_REQUESTS = ("evalsha", "eval", "blpop")


def of_server(
    sizes: Sizes, operations: Sequence[str] = OPERATIONS, child: Sequence[str] = CHILD
) -> Counts:
    """The server's instructions, a message."""
    with (
        Callgrind.in_folder() as counter,
        running(None, under=counter.command, pinned=False) as server,
        _worker(server, child) as worker,
    ):
        pid = server.pid
        yield from _each(
            worker,
            sizes,
            operations,
            lambda _: {"server": counter.count(pid, worker.run, lambda: server.command("PING"))},
        )


def of_client(
    sizes: Sizes, operations: Sequence[str] = OPERATIONS, child: Sequence[str] = CHILD
) -> Counts:
    """The client's instructions, a message."""
    with (
        Callgrind.in_folder() as counter,
        running(None, pinned=False) as server,
        _worker(server, child, counter.command) as worker,
    ):
        yield from _each(
            worker,
            sizes,
            operations,
            lambda _: {"client": counter.count(worker.pid, worker.run, lambda: None)},
        )


def _each(
    worker: Worker,
    sizes: Sizes,
    operations: Sequence[str],
    count: Callable[[str], Mapping[str, float]],
) -> Counts:
    for operation in operations:
        n = sizes.of(operation)
        runs: list[Mapping[str, float]] = []
        for _ in range(sizes.times(operation)):
            worker.prepare(operation, n)
            runs.append(count(operation))
        for kind in runs[0]:
            yield f"{kind}: {operation}", min(run[kind] for run in runs) / n


def facts() -> dict[str, str]:
    """What instructions depend on; nothing that tells whose machine it is."""
    with running(None, pinned=False) as server:
        name = server.name
    optimised = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "build": f"{platform.python_compiler()}, {'optimised' if optimised else 'plain'}",
        "server": name,
        **{package: version(package) for package in ("redis", "hiredis", "pydantic")},
        "valgrind": callgrind.version() or "none",
        "machine": callgrind.machine(),
    }


def measure(sizes: Sizes = FULL) -> Baseline:
    """Everything; without valgrind, all but the instructions."""
    figures = dict(traffic(sizes))
    if callgrind.version():
        figures.update(of_server(sizes))
        figures.update(of_client(sizes))
    return Baseline(facts(), {name: round(value, 4) for name, value in figures.items()})


# ------------------------------------------------------------------------ main


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions",
        description="Instructions, requests, and bytes a message, beside those that were saved.",
    )
    parser.add_argument("--save", action="store_true", help="these are the figures from now on")
    options = parser.parse_args()
    began = time.monotonic()
    new = measure()
    counted = callgrind.version() is not None
    if options.save and not counted:
        raise SystemExit(f"--save needs valgrind: {callgrind.HOW_TO_INSTALL}")
    found = compare(Baseline.load(RESULTS) if RESULTS.exists() else Baseline({}), new)
    print("\n".join(found.table()))
    print(f"took {time.monotonic() - began:.0f} s")
    for reason in found.not_compared:
        print(f"!! NOT COMPARED: {reason}")
    if not counted:
        print(f"!! valgrind was not found; to install it: {callgrind.HOW_TO_INSTALL}")
    if options.save:
        new.save(RESULTS)
        baselines.replace_in_docs(new, DOCS)
        print(f"saved to results/{RESULTS.name} and docs/{DOCS.name}")
        return
    if found.worse:
        raise SystemExit(
            f"!! MORE THAN BEFORE: {', '.join(found.worse)}. Where that is worth it: "
            "make bench-check ARGS=--save"
        )


if __name__ == "__main__":
    main()
