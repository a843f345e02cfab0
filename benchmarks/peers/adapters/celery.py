"""Celery: https://docs.celeryq.dev"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from celery import Celery

from ..meter import Done
from .base import Adapter, Config


class CeleryAdapter(Adapter):
    packages = ("celery", "kombu", "redis", "hiredis")
    family = True
    fresh = True
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "the pool `prefork` with one process: handlers run beside the one that fetches",
            "https://docs.celeryq.dev/en/stable/userguide/workers.html#concurrency",
            "at most once",
            "each",
            "acknowledged before the handler runs",
        ),
        "best": Config(
            "`--pool=solo`, `worker_prefetch_multiplier=100`, without gossip, mingle, heartbeat",
            "https://docs.celeryq.dev/en/stable/userguide/optimizing.html",
            "at most once",
            "each",
            "acknowledged before the handler runs",
        ),
    }

    def open(self) -> None:
        self.app = Celery("bench", broker=self.url)
        self.app.conf.broker_connection_retry_on_startup = True
        self.app.conf.worker_hijack_root_logger = False
        if self.config == "best":
            self.app.conf.worker_prefetch_multiplier = 100

        @self.app.task(name="handle")
        def handle(_item: dict[str, Any]) -> None:
            self.hit()

        self.task = handle
        self.publish(self.items.dicts(1, "order"))

    def publish(self, things: Sequence[Any]) -> None:
        delay = self.task.delay
        for thing in things:
            delay(thing)

    def work(self, done: Done, total: int | None) -> None:
        options = ["worker", "--loglevel=warning", "--concurrency=1"]
        if self.config == "best":
            options += ["--pool=solo"]
            options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.app.worker_main(options)


ADAPTER = CeleryAdapter
