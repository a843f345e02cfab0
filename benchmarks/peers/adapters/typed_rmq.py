"""This queue. Payloads are validated, deduplicated by content, and acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from typed_rmq import Dedup, Queue

from ...payload import Order
from ..meter import Done
from .base import QUEUE, Adapter, Config

_DOCS = "docs/consuming.md"
_EXTRAS = "validated, deduplicated by content, retries and dead letters"
_BULK = "publish_many by 500"


class Typed(Adapter):
    packages = ("typed_rmq", "redis", "hiredis", "pydantic")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "a loop, sync",
            _DOCS,
            "at least once",
            "batch",
            _EXTRAS,
            bulk=_BULK,
        ),
        "prefetch=1": Config(
            "a loop, sync, `prefetch=1`",
            _DOCS,
            "at least once",
            "each",
            _EXTRAS,
            bulk=_BULK,
        ),
        "no dedup": Config(
            "a loop, sync, `dedup=None`",
            "docs/deduplication.md",
            "at least once",
            "batch",
            "validated, retries and dead letters",
            bulk=_BULK,
        ),
    }

    def open(self) -> None:
        dedup = None if self.config == "no dedup" else Dedup()
        self.queue = Queue[Order](QUEUE, self.url, dedup=dedup)
        self.queue.publish_many(self.make(self.items.dicts(1, "order")))

    def make(self, items: list[dict[str, Any]]) -> Sequence[Any]:
        return [Order(**item) for item in items]

    def publish(self, things: Sequence[Any]) -> None:
        publish = self.queue.publish
        for thing in things:
            publish(thing)

    def bulk(self, things: Sequence[Any]) -> None:
        self.queue.publish_many(things, batch=500)

    def work(self, done: Done, total: int | None) -> None:
        prefetch: Any = 1 if self.config == "prefetch=1" else "auto"
        hit = self.hit
        for _msg in self.queue.consume(prefetch=prefetch, until_empty=total is not None):
            hit()


ADAPTER = Typed
