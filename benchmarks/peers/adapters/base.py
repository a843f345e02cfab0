"""What an adapter is: a system in one documented configuration, behind five verbs."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..items import Items
from ..meter import Done, Probe, difference

__all__ = ["Adapter", "AsyncAdapter", "Config", "chunks"]

QUEUE = "bench"
BATCH = 500
"""Messages in a bulk call, where a caller chooses."""


@dataclass(frozen=True)
class Config:
    """How a system is set up, and what it promises then.

    Attributes:
        about: what was set, for readers; empty for the defaults.
        source: where the options are documented.
        delivery: ``at most once`` or ``at least once``, if a worker is killed.
        acks: ``each``, ``batch`` or ``none``.
        extras: what else is done for each message, such as deduplication or a stored result.
        bulk: the call behind the bulk figure; empty where there is none.
        handlers: how many run at a time at most.
        poll: seconds between polls of an idle worker; 0 where it waits in Redis.
        least: messages in a consume slice at least: ten times what is in flight or comes at once.
    """

    about: str
    source: str
    delivery: str
    acks: str
    extras: str = ""
    bulk: str = ""
    handlers: int = 1
    poll: float = 0.0
    least: int = 0


class Adapter(ABC):
    """Base of the systems with blocking calls."""

    configs: ClassVar[dict[str, Config]]
    packages: ClassVar[tuple[str, ...]] = ()
    family: ClassVar[bool] = False
    """Handlers run in forked processes."""
    fresh: ClassVar[bool] = False
    """A worker cannot be stopped and started within one process."""

    def __init__(self, port: int, config: str) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self.config = config
        self.hit: Callable[[], None] = lambda: None
        self.hit_many: Callable[[int], None] = lambda _n: None
        self.begin: Callable[[], None] = lambda: None
        """Starts the clock of a consume slice before its first message."""
        self.items = Items()

    @property
    def settings(self) -> Config:
        return self.configs[self.config]

    def open(self) -> None:  # noqa: B027 - not all have something to open
        """Connect, so that no slice pays for it."""

    def make(self, items: list[dict[str, Any]]) -> Sequence[Any]:
        """What ``publish`` takes; not timed."""
        return items

    @abstractmethod
    def publish(self, things: Sequence[Any]) -> None:
        """One call for each, one after the other."""

    def bulk(self, things: Sequence[Any]) -> None:
        """The system's own call for many; only those whose ``Config.bulk`` names one have it."""
        raise AssertionError(f"{type(self).__name__} has no call for many messages")

    def fill(self, things: Sequence[Any]) -> None:
        """Publish for a consume slice; not timed."""
        (self.bulk if self.settings.bulk else self.publish)(things)

    @abstractmethod
    def work(self, done: Done, total: int | None) -> None:
        """Run a worker until ``done``.

        ``total`` messages are there already; ``None``: run on, and wait for more.
        """

    def publish_one(self, things: Sequence[Any]) -> int:
        """Publishes, and tells when the call began, on the clock that all processes share."""
        began = time.monotonic_ns()
        self.publish(things)
        return began

    def measure(self, verb: str, things: Sequence[Any], probe: Probe) -> dict[str, int]:
        call = getattr(self, verb)
        before = probe.before()
        call(things)
        return difference(before, probe.after(len(things)))


class AsyncAdapter(Adapter):
    """Base of the systems with coroutines: the verbs' ``a...`` forms, in one event loop."""

    def __init__(self, port: int, config: str) -> None:
        super().__init__(port, config)
        self.runner = asyncio.Runner(loop_factory=self.loop_factory())

    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """Another event loop than asyncio's, where the system documents one."""
        return None

    async def aopen(self) -> None: ...

    @abstractmethod
    async def apublish(self, things: Sequence[Any]) -> None:
        """See ``publish``."""

    async def abulk(self, things: Sequence[Any]) -> None:
        """See ``bulk``."""
        raise AssertionError(f"{type(self).__name__} has no call for many messages")

    async def afill(self, things: Sequence[Any]) -> None:
        await (self.abulk if self.settings.bulk else self.apublish)(things)

    @abstractmethod
    async def awork(self, done: Done, total: int | None) -> None:
        """See ``work``."""

    def publish(self, things: Sequence[Any]) -> None:
        self.runner.run(self.apublish(things))

    def open(self) -> None:
        self.runner.run(self.aopen())

    def fill(self, things: Sequence[Any]) -> None:
        self.runner.run(self.afill(things))

    def work(self, done: Done, total: int | None) -> None:
        self.runner.run(self.awork(done, total))

    def publish_one(self, things: Sequence[Any]) -> int:
        async def timed() -> int:
            began = time.monotonic_ns()
            await self.apublish(things)
            return began

        return self.runner.run(timed())

    def measure(self, verb: str, things: Sequence[Any], probe: Probe) -> dict[str, int]:
        call = getattr(self, f"a{verb}")

        async def timed() -> dict[str, int]:
            before = probe.before()
            await call(things)
            return difference(before, probe.after(len(things)))

        return self.runner.run(timed())


def chunks(things: Sequence[Any], size: int = BATCH) -> list[Sequence[Any]]:
    return [things[at : at + size] for at in range(0, len(things), size)]
