"""The measured process: ``python -m benchmarks.peers.child SYSTEM CONFIG PORT SERVER_PID``.

Takes commands as lines of JSON and answers each with one line. All timing happens in here.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import sys
import threading
import time
import traceback
from importlib.metadata import version
from typing import Any

from .adapters.base import Adapter
from .meter import Done, Meter, Probe, SharedMeter

STALL = 5.0
"""Seconds without a further message after which a consume slice is given up."""
SETTLE = 0.05
"""Seconds after the last message, for acks and for messages that come twice."""


class Child:
    def __init__(self, system: str, config: str, port: int, server_pid: int) -> None:
        # What a system prints must not get between the answers.
        self._out = os.dup(1)
        os.dup2(2, 1)
        module = importlib.import_module(f"benchmarks.peers.adapters.{system}")
        self._adapter: Adapter = module.ADAPTER(port, config)
        self._probe = Probe(port, server_pid, family=self._adapter.family)
        self._adapter.open()

    def answer(self, **fields: Any) -> None:
        os.write(self._out, json.dumps(fields).encode() + b"\n")

    def run(self) -> None:
        adapter = self._adapter
        self.answer(
            versions={name: version(name) for name in adapter.packages},
            python=sys.version.split()[0],
            fresh=adapter.fresh,
            **vars(adapter.settings),
        )
        for line in sys.stdin:
            command = json.loads(line)
            try:
                getattr(self, f"do_{command.pop('do')}")(**command)
            except Exception as error:
                traceback.print_exc()
                self.answer(error=f"{type(error).__name__}: {error}"[:500])

    def _make(self, n: int, size: str) -> Any:
        return self._adapter.make(self._adapter.items.dicts(n, size))

    def do_publish(self, n: int, size: str) -> None:
        self.answer(**self._adapter.measure("publish", self._make(n, size), self._probe))

    def do_bulk(self, n: int, size: str) -> None:
        self.answer(**self._adapter.measure("bulk", self._make(n, size), self._probe))

    def do_fill(self, n: int, size: str) -> None:
        self._adapter.fill(self._make(n, size))
        self.answer(n=n)

    def do_one(self, size: str) -> None:
        self.answer(began=self._adapter.publish_one(self._make(1, size)))

    def do_consume(self, n: int, warm: int, size: str) -> None:
        adapter, total, done = self._adapter, n + warm, Done()
        adapter.fill(self._make(total, size))
        meter = (SharedMeter if adapter.family else Meter)(self._probe, warm, total, done)
        adapter.hit, adapter.hit_many = meter.hit, meter.hit_many
        if isinstance(meter, Meter):
            adapter.begin = meter.begin
        watch = threading.Thread(target=self._watch, args=(meter, done, total), daemon=True)
        watch.start()
        adapter.work(done, total)
        if adapter.fresh:
            return
        done.set()
        watch.join()
        self._tell(meter, done, total)

    def _tell(self, meter: Meter | SharedMeter, done: Done, total: int) -> None:
        time.sleep(SETTLE)
        self.answer(sent=total, handled=meter.count, stalled=done.stalled, figures=meter.result())

    def _watch(self, meter: Meter | SharedMeter, done: Done, total: int) -> None:
        last, since = -1, time.monotonic()
        while not done:
            done.sleep(0.02 if self._adapter.family else 0.2)
            now = meter.progress
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() > since + STALL:
                done.stalled = True
                done.set()
        if self._adapter.fresh:
            self._tell(meter, done, total)
            os._exit(0)

    def do_serve(self) -> None:
        """A worker for the latency test: a line for each message, at the handler's first line."""
        self._adapter.hit = self._tell_time
        self._adapter.hit_many = lambda _n: self._tell_time()
        self._adapter.work(Done(), None)

    def _tell_time(self) -> None:
        os.write(self._out, b'{"at": %d}\n' % time.monotonic_ns())


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    system, config, port, server_pid = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        Child(system, config, int(port), int(server_pid)).run()


if __name__ == "__main__":
    main()
