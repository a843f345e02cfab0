"""redis-message-queue: https://pypi.org/project/redis-message-queue"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import redis
from redis_message_queue import RedisMessageQueue

from ..meter import Done
from .base import QUEUE, Adapter, Config

_DOCS = "https://github.com/Elijas/redis-message-queue/blob/main/docs/configuration.md"


class Rmq(Adapter):
    packages = ("redis-message-queue", "redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "default": Config("sync", _DOCS, "at least once", "each", "dead letters", poll=0.25),
        "dedup": Config(
            "`get_deduplication_key` by the order's number",
            f"{_DOCS}#deduplication",
            "at least once",
            "each",
            "deduplicated by key, dead letters",
            poll=0.25,
        ),
        "best": Config(
            "`visibility_timeout_seconds=None`, `max_delivery_count=None`",
            f"{_DOCS}#crash-recovery-with-visibility-timeout",
            "at most once",
            "each",
            poll=0.25,
        ),
    }

    def open(self) -> None:
        client = redis.Redis(port=self.port)
        options: dict[str, Any] = {}
        if self.config == "dedup":
            options["get_deduplication_key"] = lambda item: str(item["order_id"])
        if self.config == "best":
            options.update(visibility_timeout_seconds=None, max_delivery_count=None)
        self.queue = RedisMessageQueue(QUEUE, client=client, **options)
        self.publish(self.items.dicts(1, "order"))

    def publish(self, things: Sequence[Any]) -> None:
        publish = self.queue.publish
        for thing in things:
            publish(thing)

    def work(self, done: Done, total: int | None) -> None:
        hit, process = self.hit, self.queue.process_message
        while not done:
            with process() as message:
                if message is not None:
                    hit()


ADAPTER = Rmq
