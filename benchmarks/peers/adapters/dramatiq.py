"""dramatiq: https://dramatiq.io"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

if "best" in sys.argv:
    # Read when dramatiq is imported.
    os.environ["dramatiq_queue_prefetch"] = "200"  # noqa: SIM112  # its name

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from ..meter import Done
from .base import Adapter, Config

_DOCS = "https://dramatiq.io/advanced.html#environment-variables"


class Dramatiq(Adapter):
    packages = ("dramatiq", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "8 threads",
            "https://dramatiq.io/guide.html",
            "at least once",
            "each",
            "retries",
            handlers=8,
            poll=0.1,
        ),
        "best": Config(
            "`dramatiq_queue_prefetch=200`, 1 thread",
            _DOCS,
            "at least once",
            "each",
            "retries",
            poll=0.1,
            least=2000,
        ),
    }

    def open(self) -> None:
        self.broker = RedisBroker(url=self.url)
        dramatiq.set_broker(self.broker)

        @dramatiq.actor
        def handle(_item: dict[str, Any]) -> None:
            self.hit()

        self.actor = handle
        self.publish(self.items.dicts(1, "order"))

    def publish(self, things: Sequence[Any]) -> None:
        send = self.actor.send
        for thing in things:
            send(thing)

    def work(self, done: Done, total: int | None) -> None:
        worker = dramatiq.Worker(self.broker, worker_threads=self.settings.handlers)
        worker.start()
        done.wait()
        worker.stop()


ADAPTER = Dramatiq
