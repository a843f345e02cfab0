"""The last hour of one queue, in a bounded piece of memory. Pure: the time is always given.

What is sampled goes into buckets of ten seconds. A bucket holds the last depths that were seen in
it, how much the counters grew, and some times that messages took. Where nothing was sampled, there
is no bucket, and nothing is made up.
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from typed_rmq import ConsumerInfo, Peeked, QueueStats

__all__ = ["Bucket", "History", "Sighting", "percentile"]

BUCKET: Final = 10.0
"""Seconds in a bucket."""
HOUR: Final = 3600.0
KEPT: Final = round(HOUR / BUCKET) + 1
TIMES: Final = 100
"""So many times of messages are kept in a bucket."""
SEEN: Final = 500
"""So many messages in flight are remembered."""
SIGHTINGS: Final = 10
"""So often each of them."""


@dataclass(slots=True)
class Bucket:
    """Ten seconds of a queue: depths at their end, and what happened in them.

    ``total`` holds seconds from publish to completion, ``handling`` seconds of a handler's work.
    """

    number: int
    ready: int = 0
    delayed: int = 0
    in_flight: int = 0
    dead: int = 0
    oldest_age: float = 0.0
    known: float = 0.0
    """For how many of its seconds the counters are known."""
    published: int = 0
    completed: int = 0
    failed: int = 0
    dead_lettered: int = 0
    total: array[float] = field(default_factory=lambda: array("f"))
    handling: array[float] = field(default_factory=lambda: array("f"))

    @property
    def at(self) -> float:
        """When it began, in seconds since the epoch."""
        return self.number * BUCKET


@dataclass(slots=True)
class Sighting:
    """A message was seen in a session's hands, from the first time on to the last."""

    session: str
    first: float
    last: float


class History:
    """What was sampled of one queue."""

    def __init__(self) -> None:
        self.buckets: deque[Bucket] = deque(maxlen=KEPT)
        self.latest: QueueStats | None = None
        self.sampled_at: float | None = None
        self.since: float | None = None
        self.error: str | None = None
        self._newest_done: tuple[float, str] = (0.0, "")
        self._seen: OrderedDict[str, list[Sighting]] = OrderedDict()
        self._failures: OrderedDict[str, dict[int, float]] = OrderedDict()

    # --- recording

    def record(self, now: float, stats: QueueStats, interval: float) -> None:
        """A sample. Growth over more than three intervals says little of when: it is left out."""
        bucket = self._bucket(now)
        before, passed = self.latest, now - (self.sampled_at or now)
        bucket.ready, bucket.delayed = stats.ready, stats.delayed
        bucket.in_flight, bucket.dead = stats.in_flight, stats.dead
        bucket.oldest_age = max(bucket.oldest_age, stats.oldest_age)
        # Counters only grow: if one has not, this is another queue of the same name.
        known = (
            before is not None
            and 0 < passed <= 3 * interval
            and stats.published >= before.published
            and stats.completed >= before.completed
        )
        if before is not None and known:
            bucket.known += passed
            bucket.published += stats.published - before.published
            bucket.completed += stats.completed - before.completed
            bucket.failed += max(0, stats.failed - before.failed)
            bucket.dead_lettered += max(0, stats.dead_lettered - before.dead_lettered)
        self.latest, self.sampled_at, self.error = stats, now, None
        self.since = now if self.since is None else self.since

    def record_done(self, now: float, done: Sequence[Peeked[object]]) -> None:
        """Entries of the log of completions, the newest first; those known already are left out."""
        newest, fresh = self._newest_done, list[Peeked[object]]()
        for seen in done:
            if seen.finished_at is None:
                continue
            key = (seen.finished_at.timestamp(), seen.id)
            if key <= self._newest_done:
                break
            newest = max(newest, key)
            fresh.append(seen)
        first_look, self._newest_done = not self._newest_done[1], newest
        if first_look:
            return  # when those came, nobody was counting
        bucket = self._bucket(now)
        for seen in fresh:
            if len(bucket.handling) < TIMES and seen.duration is not None:
                bucket.handling.append(seen.duration)
            if len(bucket.total) < TIMES and seen.finished_at and seen.published_at:
                took = (seen.finished_at - seen.published_at).total_seconds()
                bucket.total.append(max(0.0, took))

    def record_consumers(
        self, now: float, consumers: Iterable[ConsumerInfo], interval: float
    ) -> None:
        """Who was seen with which messages."""
        for consumer in consumers:
            for message_id in consumer.message_ids:
                seen = self._seen.setdefault(message_id, [])
                self._seen.move_to_end(message_id)
                last = seen[-1] if seen else None
                if last and last.session == consumer.session and now - last.last <= 3 * interval:
                    last.last = now
                elif len(seen) < SIGHTINGS:
                    seen.append(Sighting(consumer.session, now, now))
        while len(self._seen) > SEEN:
            self._seen.popitem(last=False)

    def record_retries(self, now: float, delayed: Iterable[Peeked[object]]) -> None:
        """Who waits for another attempt, and so has failed the one before."""
        for one in delayed:
            if one.attempt > 1:
                failures = self._failures.setdefault(one.id, {})
                if len(failures) < SIGHTINGS:
                    failures.setdefault(one.attempt - 1, now)
        while len(self._failures) > SEEN:
            self._failures.popitem(last=False)

    def _bucket(self, now: float) -> Bucket:
        number = int(now // BUCKET)
        if not self.buckets or self.buckets[-1].number < number:
            self.buckets.append(Bucket(number))
        return self.buckets[-1]

    # --- reading

    def sightings(self, message_id: str) -> Sequence[Sighting]:
        """When a message was seen in whose hands, as far as a sample caught it."""
        return self._seen.get(message_id, ())

    def failures(self, message_id: str) -> Mapping[int, float]:
        """Which attempts of a message were first seen to have failed when."""
        return self._failures.get(message_id, {})

    def span(self, now: float) -> float:
        """The shortest of 5, 15, and 60 minutes that shows all that was sampled, in seconds."""
        age = now - self.since if self.since is not None else 0.0
        return next((span for span in (300.0, 900.0) if age <= span), HOUR)

    def window(self, now: float, span: float, points: int) -> list[list[Bucket]]:
        """The buckets of the last ``span`` seconds, oldest first, in at most ``points`` groups."""
        size = max(1, round(span / BUCKET / points))
        groups = round(span / BUCKET / size)
        end = int(now // BUCKET) // size + 1
        grouped: list[list[Bucket]] = [[] for _ in range(groups)]
        for bucket in self.buckets:
            at = bucket.number // size - (end - groups)
            if 0 <= at < groups:
                grouped[at].append(bucket)
        return grouped

    def rate(self, now: float, counter: str, over: float = 60.0) -> float | None:
        """How much a counter grew a second, over the last minute; ``None`` where not known."""
        recent = [b for b in self.buckets if b.at > now - over - BUCKET]
        known = sum(b.known for b in recent)
        if known <= 0:
            return None
        values = {
            "published": sum(b.published for b in recent),
            "completed": sum(b.completed for b in recent),
            "failed": sum(b.failed for b in recent),
        }
        return values[counter] / known


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that ``share`` of all (0 to 1) do not exceed: the nearest rank."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
