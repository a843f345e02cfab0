"""huey: https://huey.readthedocs.io"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from huey import RedisHuey

from ..meter import Done
from .base import QUEUE, Adapter, Config

_DOCS = "https://huey.readthedocs.io/en/latest/consumer.html"


class Huey(Adapter):
    packages = ("huey", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config("1 thread, pickle", _DOCS, "at most once", "none", "results if any"),
        "best": Config(
            "`results=False`, no periodic tasks, pickle",
            f"{_DOCS}; https://huey.readthedocs.io/en/latest/api.html",
            "at most once",
            "none",
        ),
    }

    def open(self) -> None:
        best = self.config == "best"
        self.huey = RedisHuey(QUEUE, host="127.0.0.1", port=self.port, results=not best)

        @self.huey.task(name="handle")
        def handle(_item: dict[str, Any]) -> None:
            self.hit()

        self.task = handle
        self.publish(self.items.dicts(1, "order"))

    def publish(self, things: Sequence[Any]) -> None:
        task = self.task
        for thing in things:
            task(thing)

    def work(self, done: Done, total: int | None) -> None:
        options: dict[str, Any] = {"periodic": False} if self.config == "best" else {}
        consumer = self.huey.create_consumer(**options)
        consumer.start()
        done.wait()
        consumer.stop(graceful=True)


ADAPTER = Huey
