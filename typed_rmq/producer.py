"""Publishing, up to the bytes that are sent: the same for sync and async."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from . import commands, wire
from .commands import Command, PublishReply
from .dedup import Dedup, Hasher
from .errors import ConfigError, PayloadError, QueueFull
from .events import DataLoss, Dropped, Duplicate, Observer, Observers, Published
from .keys import PRIORITIES, QueueKeys
from .lanes import Batch, Lane, Mark, missing
from .losses import OnDataLoss, loss_found
from .results import Priority, Receipt, stored
from .retry import Duration, seconds
from .serializers.codec import Codec

T = TypeVar("T")

Overflow = Literal["raise", "block", "drop_oldest"]
"""What a publish does at ``max_length``: raise ``QueueFull``, wait for room, drop the oldest."""

logger: Final = logging.getLogger("typed_rmq")

MAX_BATCH: Final = 1_000
MAX_DELAY_MS: Final = 10 * 365 * 24 * 3600 * 1000

PUBLISHER_FOUND: Final = (
    "What was published just now is stored. Publish again what may be missing: with deduplication "
    "on nothing is stored twice"
)

__all__ = ["Batch", "Lane", "Overflow", "Producer", "PublishOptions"]


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What all messages of one publish call share."""

    delay_ms: int
    due_ms: int
    start: bytes
    start_keyed: bytes
    headers: bytes
    dedup_key: str | None
    priority: int
    groups: bool
    """Whether such messages may leave together: ready at once, in a queue without a bound."""


class Producer(Generic[T]):
    """Validates, hashes, and packs payloads, and reads what Redis says to them."""

    def __init__(
        self,
        keys: QueueKeys,
        codec: Codec[T],
        dedup: Dedup[T] | None,
        hasher: Hasher[T] | None,
        *,
        max_length: int | None,
        overflow: Overflow,
        observers: Observers,
        on_data_loss: OnDataLoss = "event",
    ) -> None:
        self.keys = keys
        self._mark = Mark()
        self.on_data_loss: OnDataLoss = on_data_loss
        self._codec = codec
        self._hasher = hasher
        self._until_done = dedup is not None and dedup.until == "done"
        self.window_ms: int = 0 if dedup is None or self._until_done else dedup.window_ms
        if max_length is not None and (not isinstance(max_length, int) or max_length < 1):
            raise ConfigError(f"max_length must be 1 or more, got {max_length}", queue=keys.name)
        self.max_length: int = max_length or 0
        self.overflow: Overflow = overflow
        self._observers = observers
        self._content_type = (
            None if codec.content_type == "application/json" else codec.content_type
        )
        self._plain = {priority: self._options(priority, {}, None, 0, 0) for priority in PRIORITIES}

    @property
    def largest_batch(self) -> int:
        """How many messages one call may hold: never more than the queue may."""
        if self.max_length and self.overflow != "raise":
            return min(MAX_BATCH, self.max_length)
        return MAX_BATCH

    def options(
        self,
        *,
        delay: Duration | None,
        at: datetime | float | None,
        priority: Priority,
        headers: Mapping[str, str] | None,
        dedup_key: str | None,
    ) -> PublishOptions:
        """Check the options of a publish; ``ConfigError`` says what is wrong."""
        if delay is None and at is None and not headers and dedup_key is None:
            plain = self._plain.get(priority)
            if plain is not None:
                return plain
        if priority not in PRIORITIES:
            raise ConfigError(
                f"priority must be 'high', 'normal', or 'low', got {priority!r:.50}",
                queue=self.keys.name,
            )
        if delay is not None and at is not None:
            raise ConfigError("give either delay= or at=, not both", queue=self.keys.name)
        if dedup_key is not None and self._hasher is None:
            raise ConfigError(
                "dedup_key= needs deduplication, which dedup=None has turned off",
                queue=self.keys.name,
            )
        delay_ms = 0 if delay is None else round(seconds(delay, "delay") * 1000)
        due_ms = 0 if at is None else _epoch_ms(at)
        if max(delay_ms, due_ms - 4_102_444_800_000) > MAX_DELAY_MS:
            raise ConfigError("delay= and at= reach at most 10 years ahead", queue=self.keys.name)
        return self._options(priority, headers or {}, dedup_key, delay_ms, due_ms)

    def _options(
        self,
        priority: Priority,
        headers: Mapping[str, str],
        dedup_key: str | None,
        delay_ms: int,
        due_ms: int,
    ) -> PublishOptions:
        packed = _pack_headers(headers, self._content_type, self.keys.name)
        mode, keyed = b"-", b"-"
        if self._hasher is not None:
            mode = wire.mode_letter(self._until_done, explicit=False)
            keyed = wire.mode_letter(self._until_done, explicit=True)
        return PublishOptions(
            delay_ms=delay_ms,
            due_ms=due_ms,
            start=wire.build_start(priority, mode, packed),
            start_keyed=wire.build_start(priority, keyed, packed),
            headers=packed,
            dedup_key=dedup_key,
            priority=PRIORITIES.index(priority),
            groups=not (self.max_length or delay_ms or due_ms),
        )

    def pack(
        self, lane: Lane, payloads: Iterable[T], options: PublishOptions, first: int | None
    ) -> Batch:
        """Envelopes of these payloads. ``first`` is the index of the first one, for errors."""
        ids: list[bytes] = []
        envelopes: list[bytes] = []
        dedup_keys: list[bytes] = []
        codec, hasher, key_prefix = self._codec, self._hasher, self.keys.dedup
        prepare, seal = codec.prepare, codec.seal if codec.seals else None
        plain, keyed = options.start, options.start_keyed
        headers, explicit = options.headers, options.dedup_key
        digests, start = b"", plain
        # An id that was made is never made again, also where its message is refused.
        token, made = lane.token, lane.made
        try:
            for payload in payloads:
                validated, data = prepare(payload)
                if hasher is not None:
                    if explicit is None:
                        key, content = hasher.digest(validated, data)
                    else:
                        key, content = hasher.explicit(explicit, validated, data)
                    dedup_keys.append(key_prefix + key)
                    digests = key
                    if content:
                        # An explicit key comes with the content's digest, to tell conflicts.
                        digests = key + content
                        start = keyed
                    else:
                        start = plain
                made += 1
                message_id = b"%b%08x" % (token, made)
                if seal is not None:
                    data = seal(data, message_id)
                ids.append(message_id)
                envelopes.append(wire.build(start, message_id, digests, headers, data))
        except PayloadError as error:
            if first is not None:
                raise at_index(error, first + len(ids)) from None
            raise
        finally:
            lane.made = made
        mark = self._mark
        return Batch(ids, envelopes, dedup_keys, mark, mark.highest, lane)

    def command(self, lane: Lane, batch: Batch, options: PublishOptions) -> Command[PublishReply]:
        """The call that stores a batch. It uses up one number of the lane."""
        if options.groups:
            fixed = lane.fixed.get(options.priority)
            if fixed is None:
                fixed = commands.enqueue_keys(self.keys, lane.token, options.priority)
                lane.fixed[options.priority] = fixed
            return commands.enqueue(
                fixed,
                lane.next_number(),
                window_ms=self.window_ms,
                touch=lane.touches(),
                envelopes=batch.envelopes,
                dedup_keys=batch.dedup_keys,
            )
        batch.lane = lane  # of a batch that waits for room, each try may have another
        return commands.publish(
            self.keys,
            self.keys.lane(lane.token),
            lane.next_number(),
            window_ms=self.window_ms,
            delay_ms=options.delay_ms,
            due_ms=options.due_ms,
            max_length=self.max_length,
            overflow=self.overflow,
            envelopes=batch.envelopes,
        )

    def receipts(self, batch: Batch, reply: PublishReply) -> list[Receipt] | None:
        """What became of each message; ``None`` where the queue was full and one may wait.

        Raises:
            QueueFull: the queue is at its bound, and its policy is to raise.
            DataLossDetected: Redis has lost what it had confirmed, and one wants that raised. The
                messages of this call are stored all the same.
        """
        total = reply.total
        if total:  # and so all of them are new
            if total < batch.floor + len(batch.ids):
                self._fell(batch, total)
            elif total > batch.mark.highest:
                batch.mark.highest = total
            receipts = [stored(message_id.decode()) for message_id in batch.ids]
            if self._observers:
                self._report(receipts, ())
            return receipts
        full = reply.answer == "full"
        lost, self._mark = missing(self._mark, batch, reply)
        if lost:
            self._report_loss(lost, stored=not full)
        if full:
            if self.overflow == "block":
                return None
            raise QueueFull(
                f"queue {self.keys.name!r} is full: it holds {self.max_length} messages, and "
                f"{len(batch.ids)} more do not fit. Nothing was stored. Let consumers catch up, "
                "raise max_length, or choose overflow='block' or 'drop_oldest'",
                queue=self.keys.name,
            )
        receipts = [stored(message_id.decode()) for message_id in batch.ids]
        dropped: list[str] = []
        if reply.answer:
            for exception in reply.answer.split(","):
                if exception.startswith("-"):
                    dropped.append(exception[1:])
                    continue
                conflict = "!" in exception
                index, first = exception.split("!" if conflict else "=")
                receipts[int(index)] = Receipt(first, duplicate=True, conflict=conflict)
        if self._observers:
            self._report(receipts, dropped)
        return receipts

    def _fell(self, batch: Batch, total: int) -> None:
        """Fewer were ever published than a call before was told."""
        if batch.mark is not self._mark:
            return  # told already, or by a call that was made before
        self._mark = Mark(total, self._mark.epoch)
        self._report_loss(batch.floor + len(batch.ids) - total)

    def _report_loss(self, lost: int, *, stored: bool = True) -> None:
        name = self.keys.name
        logger.error("queue %s: Redis has lost %d operations that it had confirmed", name, lost)
        if self._observers:
            self._observers.tell(Observer.data_loss, DataLoss(name, lost))
        if self.on_data_loss == "raise" and stored:
            raise loss_found(name, lost, PUBLISHER_FOUND)

    def _report(self, receipts: Sequence[Receipt], dropped: Sequence[str]) -> None:
        name = self.keys.name
        stored = tuple(receipt.id for receipt in receipts if not receipt.duplicate)
        if stored:
            self._observers.tell(Observer.published, Published(name, stored))
        for receipt in receipts:
            if receipt.duplicate:
                self._observers.tell(
                    Observer.duplicate, Duplicate(name, receipt.id, receipt.conflict)
                )
        if dropped:
            self._observers.tell(Observer.dropped, Dropped(name, tuple(dropped)))


def at_index(error: PayloadError, index: int) -> PayloadError:
    """The same error, with the position of its item."""
    return PayloadError(
        f"item {index}: {error}",
        queue=error.queue,
        message_id=error.message_id,
        index=index,
        problems=error.problems,
    )


def _epoch_ms(at: datetime | float) -> int:
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ConfigError(
                "at= needs a datetime with a time zone, such as datetime.now(UTC) + "
                "timedelta(hours=1); a naive one means a different moment on each machine"
            )
        return round(at.timestamp() * 1000)
    if not 0 <= at < 1e11:
        raise ConfigError(f"at= must be seconds since 1970 or a datetime, got {at!r}")
    return round(at * 1000)


def _pack_headers(headers: Mapping[str, str], content_type: str | None, queue: str) -> bytes:
    user: dict[str, str] = {}
    for key, value in headers.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise ConfigError("headers= takes strings as names and as values", queue=queue)
        user[key] = value
    try:
        packed = wire.encode_headers(user, content_type)
    except TypeError:
        raise ConfigError("headers= must be text that UTF-8 can hold", queue=queue) from None
    if len(packed) > wire.MAX_HEADERS:
        raise ConfigError(
            f"headers= take {len(packed)} bytes; at most {wire.MAX_HEADERS} fit", queue=queue
        )
    return packed
