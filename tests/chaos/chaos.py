"""Two producers and four consumers while everything is killed, frozen, and cut.

Redis writes each command to its append-only file before it answers; a proxy stands before it.
Every now and then a process gets kill -9 and is replaced, or stands still for longer than its
lease; connections are cut, requests and replies are lost or late; Redis itself gets kill -9. Then
the faults stop, all is handled, and the history of all processes is judged.
"""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.actors import Actor, eventually
from tests.faults.proxy import Proxy
from tests.servers import RunningServer, start
from typed_rmq import Queue

from .history import Known, judge, read
from .workers import CONSUMERS, PRODUCERS

__all__ = ["Chaos", "wreak"]

LEASE = 1.5
ATTEMPTS = 8
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
EVENTS = {
    "kill a consumer": 5,
    "kill a producer": 3,
    "freeze a consumer": 3,
    "cut": 3,
    "lose replies": 4,
    "lose requests": 4,
    "hold a reply": 1,
    "slow": 1,
    "script flush": 1,
    "kill redis": 2,
}


@dataclass
class Chaos:
    """One run; see the module's text."""

    seed: int
    seconds: float
    folder: Path
    faults: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.made = 0
        self.frozen: dict[Actor, float] = {}
        self.producers: list[Actor] = []
        self.consumers: list[Actor] = []
        (self.folder / "redis").mkdir()
        self.server: RunningServer = start(
            "valkey", *DURABLE, folder=self.folder / "redis", tcp=True
        )
        assert self.server.port is not None
        self.port = self.server.port
        self.proxy = Proxy(self.port)

    def _start(self, source: str) -> Actor:
        self.made += 1
        path = self.folder / f"{self.made}.jsonl"
        seed = self.seed % 10_000 * 1_000 + self.made
        return Actor(source, self.proxy.url, "chaos", path, seed, LEASE)

    def run(self) -> Known:
        """Do harm, stop, let all be handled, and judge."""
        for number, source in enumerate((*PRODUCERS, *CONSUMERS)):
            (self.producers if number < len(PRODUCERS) else self.consumers).append(
                self._start(source)
            )
        for actor in (*self.producers, *self.consumers):
            assert actor.line(60) == "ready"  # six at once, beside other tests
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            time.sleep(self.rng.uniform(0.05, 0.4))
            self._thaw(time.monotonic())
            self._all_alive()
            [event] = self.rng.choices(list(EVENTS), list(EVENTS.values()))
            self.faults[event] += 1
            getattr(self, f"_{event.replace(' ', '_')}")()
        return self._judge()

    def _all_alive(self, *some: Actor) -> None:
        """Nobody may end by itself, whatever happens to Redis."""
        for actor in some or (*self.producers, *self.consumers):
            code = actor.process.poll()
            assert code is None, f"a process ended with {code}:\n{actor.errors[-3000:]}"

    def _thaw(self, now: float) -> None:
        for actor, until in list(self.frozen.items()):
            if now >= until:
                del self.frozen[actor]
                actor.thaw()

    # --- harm

    def _replace(self, actors: list[Actor], sources: tuple[str, ...]) -> None:
        index = self.rng.randrange(len(actors))
        self.frozen.pop(actors[index], None)
        actors[index].close()
        actors[index] = self._start(sources[index])

    def _kill_a_consumer(self) -> None:
        self._replace(self.consumers, CONSUMERS)

    def _kill_a_producer(self) -> None:
        self._replace(self.producers, PRODUCERS)

    def _freeze_a_consumer(self) -> None:
        actor = self.rng.choice(self.consumers)
        if actor not in self.frozen:
            actor.freeze()
            self.frozen[actor] = time.monotonic() + LEASE * self.rng.uniform(0.3, 2)

    def _cut(self) -> None:
        self.proxy.cut()

    def _lose_replies(self) -> None:
        self.proxy.lose_reply(times=self.rng.randint(1, 6))

    def _lose_requests(self) -> None:
        self.proxy.lose_request(times=self.rng.randint(1, 6))

    def _hold_a_reply(self) -> None:
        self.proxy.hold_reply()

    def _slow(self) -> None:
        self.proxy.slow = 0.0 if self.proxy.slow else 0.01

    def _script_flush(self) -> None:
        self.server.command("SCRIPT", "FLUSH")

    def _kill_redis(self) -> None:
        self.server.signal(signal.SIGKILL)
        self.server.stop()
        time.sleep(self.rng.uniform(0.0, 0.4))
        self.server = start("valkey", *DURABLE, folder=self.folder / "redis", port=self.port)

    # --- the end

    def _judge(self) -> Known:
        self.proxy.heal()
        self.proxy.slow = 0.0
        self._thaw(float("inf"))
        self._all_alive()
        for actor in self.producers:
            actor.process.send_signal(signal.SIGTERM)
        for actor in self.producers:
            actor.wait(60)
        with Queue[int]("chaos", self.server.url, dedup=None) as queue:

            def drained() -> bool:
                stats = queue.stats()
                assert (stats.ready, stats.delayed, stats.in_flight) == (0, 0, 0), stats
                return True

            eventually(drained, seconds=90)
            self._all_alive(*self.consumers)
            for actor in self.consumers:
                actor.process.send_signal(signal.SIGTERM)
            for actor in self.consumers:
                actor.wait(60)
            dead = {letter.id: letter.payload or 0 for letter in queue.dead}
            return judge(read(self.folder), queue.stats(), dead, ATTEMPTS)

    def close(self) -> None:
        for actor in (*self.producers, *self.consumers):
            actor.close()
        self.proxy.close()
        self.server.stop()


def wreak(seed: int, seconds: float) -> tuple[Known, Counter[str]]:
    """One run with this seed, of so many seconds of harm."""
    with tempfile.TemporaryDirectory(prefix="trmq-", ignore_cleanup_errors=True) as folder:
        chaos = Chaos(seed, seconds, Path(folder))
        try:
            return chaos.run(), chaos.faults
        finally:
            chaos.close()
