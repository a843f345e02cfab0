"""The limit: redis-py without any queue. Nothing is acknowledged, validated or kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import redis

from ..items import as_json
from ..meter import Done
from .base import QUEUE, Adapter, Config, chunks

_DOCS = "https://redis.io/docs/latest/commands/lpop/"


class Raw(Adapter):
    packages = ("redis", "hiredis")
    configs: ClassVar[dict[str, Config]] = {
        "single": Config(
            "LPUSH and LPOP, a message a call", _DOCS, "at most once", "none", bulk="LPUSH of 500"
        ),
        "batch": Config(
            "LPOP of 500 a call",
            _DOCS,
            "at most once",
            "none",
            bulk="LPUSH of 500",
            least=5000,
        ),
    }

    def open(self) -> None:
        self.client: Any = redis.Redis(port=self.port)
        self.client.ping()

    def make(self, items: list[dict[str, Any]]) -> Sequence[Any]:
        return [as_json(item) for item in items]

    def publish(self, things: Sequence[Any]) -> None:
        lpush = self.client.lpush
        for thing in things:
            lpush(QUEUE, thing)

    def bulk(self, things: Sequence[Any]) -> None:
        for chunk in chunks(things):
            self.client.lpush(QUEUE, *chunk)

    def work(self, done: Done, total: int | None) -> None:
        if total is None:
            while True:
                # The client's own socket timeout is 5 seconds.
                if self.client.blpop([QUEUE], timeout=4) is not None:
                    self.hit()
        hit, lpop = self.hit, self.client.lpop
        if self.config == "single":
            while lpop(QUEUE) is not None:
                hit()
            return
        while batch := lpop(QUEUE, 500):
            for _item in batch:
                hit()


ADAPTER = Raw
