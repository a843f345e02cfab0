"""RQ: https://python-rq.org"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import redis
from rq import Queue, SimpleWorker, Worker
from rq.serializers import JSONSerializer

from ..meter import Done
from .base import QUEUE, Adapter, Config, chunks

_HANDLER = f"{__name__}.handle"
_hit: list[Callable[[], None]] = [lambda: None]


def handle(_item: dict[str, Any]) -> None:
    _hit[0]()


class Rq(Adapter):
    packages = ("rq", "redis", "hiredis")
    family = True
    configs: ClassVar[dict[str, Config]] = {
        "default": Config(
            "Worker: a fork for each job",
            "https://python-rq.org/docs/workers/",
            "at most once",
            "each",
            "job state, failed jobs kept, result kept 500 s",
            bulk="enqueue_many of 500",
        ),
        "best": Config(
            "SimpleWorker, JSONSerializer, `result_ttl=0`",
            "https://python-rq.org/docs/workers/; https://python-rq.org/docs/results/",
            "at most once",
            "each",
            "job state, failed jobs kept",
            bulk="enqueue_many of 500",
        ),
    }

    def open(self) -> None:
        best = self.config == "best"
        self.kind = SimpleWorker if best else Worker
        self.codec: dict[str, Any] = {"serializer": JSONSerializer} if best else {}
        self.options: dict[str, Any] = {"result_ttl": 0} if best else {}
        self.connection = redis.Redis(port=self.port)
        self.queue = Queue(QUEUE, connection=self.connection, **self.codec)
        self.publish(self.items.dicts(1, "order"))

    def publish(self, things: Sequence[Any]) -> None:
        enqueue, options = self.queue.enqueue, self.options
        for thing in things:
            enqueue(_HANDLER, thing, **options)

    def bulk(self, things: Sequence[Any]) -> None:
        prepare, options = Queue.prepare_data, self.options
        for chunk in chunks(things):
            jobs = [prepare(_HANDLER, args=(thing,), **options) for thing in chunk]
            self.queue.enqueue_many(jobs)

    def work(self, done: Done, total: int | None) -> None:
        _hit[0] = self.hit
        worker = self.kind([self.queue], connection=self.connection, **self.codec)
        worker.work(burst=total is not None, logging_level="WARNING")


ADAPTER = Rq
