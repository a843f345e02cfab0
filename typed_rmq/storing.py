"""One batch on its way to Redis: packed once, sent until there is room for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from .commands import Command, PublishReply
from .producer import Batch, Lane, Producer, PublishOptions
from .results import Receipt

T = TypeVar("T")

__all__ = ["Store"]


class Store(Generic[T]):
    """The payloads of one call of ``publish``, or one batch of ``publish_many``."""

    __slots__ = ("_batch", "_first", "_options", "_payloads", "_producer")

    def __init__(
        self,
        producer: Producer[T],
        payloads: Sequence[T],
        options: PublishOptions,
        first: int | None,
    ) -> None:
        self._producer = producer
        self._payloads = payloads
        self._options = options
        self._first = first
        self._batch: Batch | None = None

    def pack(self, lane: Lane) -> Batch:
        """The envelopes, whose ids are of that lane; the same ones from then on."""
        batch = self._batch
        if batch is None:
            batch = self._producer.pack(lane, self._payloads, self._options, self._first)
            self._batch = batch
        return batch

    def command(self, lane: Lane) -> Command[PublishReply]:
        """The call that stores them."""
        batch = self._batch
        if batch is None:
            batch = self._producer.pack(lane, self._payloads, self._options, self._first)
            self._batch = batch
        return self._producer.command(lane, batch, self._options)

    def joined(self, lane: Lane, batch: Batch) -> Command[PublishReply]:
        """The call that stores a batch of which this is a part."""
        return self._producer.command(lane, batch, self._options)

    def receipts(self, reply: PublishReply) -> list[Receipt] | None:
        """See ``Producer.receipts``."""
        assert self._batch is not None
        return self._producer.receipts(self._batch, reply)
