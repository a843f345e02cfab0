"""From what lies in Redis to the records that ``stats``, ``peek``, and ``dead`` return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from . import wire
from .commands import DeadEntry, StatsReply
from .lookups import SessionReply
from .results import ConsumerInfo, DeadLetter, Peeked, Priority, QueueStats, State
from .serializers.codec import Codec, Undecodable

T = TypeVar("T")

__all__ = ["consumer_info", "dead_letter", "peeked", "queue_stats"]


def queue_stats(reply: StatsReply) -> QueueStats:
    """The stats script's reply."""
    count = reply.counters.get
    return QueueStats(
        ready=reply.ready,
        delayed=reply.delayed,
        in_flight=reply.in_flight,
        dead=reply.dead,
        done=reply.done,
        oldest_age=reply.oldest_ms / 1000,
        consumers=reply.consumers,
        paused=reply.paused,
        published=count("published", 0),
        duplicates=count("duplicates", 0),
        completed=count("completed", 0),
        failed=count("failed", 0),
        retried=count("retried", 0),
        dead_lettered=count("dead_lettered", 0),
        released=count("released", 0),
        stale=count("stale", 0),
        dropped=count("dropped", 0),
    )


def dead_letter(codec: Codec[T], entry: DeadEntry) -> DeadLetter[T]:
    """One dead letter; ``payload`` is ``None`` where its bytes are not a ``T``."""
    died_at = wire.timestamp(int(entry.at.split("-")[0]))
    try:
        head = wire.parse(entry.envelope)
    except wire.BadEnvelope:
        return DeadLetter(
            id=entry.at,
            payload=None,
            raw=entry.envelope,
            reason=entry.reason,
            error=entry.error,
            traceback=entry.traceback,
            attempts=0,
            published_at=None,
            died_at=died_at,
        )
    content = _content(codec, entry.envelope, head)
    return DeadLetter(
        id=head.id,
        payload=content.payload,
        raw=entry.envelope[head.payload_at :],
        reason=entry.reason,
        error=entry.error,
        traceback=entry.traceback,
        attempts=head.attempt,
        published_at=wire.timestamp(head.published_ms),
        died_at=died_at,
        headers=content.headers,
    )


@dataclass(frozen=True)
class _Content(Generic[T]):
    payload: T | None
    headers: dict[str, str]


def _content(codec: Codec[T], envelope: bytes, head: wire.Head) -> _Content[T]:
    try:
        headers = wire.decode_headers(envelope[head.headers_at : head.payload_at])
    except wire.BadEnvelope:
        return _Content(None, {})
    try:
        payload = codec.open(
            headers.content_type, envelope[head.payload_at :], head.id.encode("ascii")
        )
    except Undecodable:
        return _Content(None, headers.user)
    return _Content(payload, headers.user)


def consumer_info(reply: SessionReply) -> ConsumerInfo:
    """One item of the consumers script's reply."""
    host, pid = wire.whose(reply.session)
    return ConsumerInfo(reply.session, host, pid, reply.left_ms / 1000, reply.held, reply.ids)


def peeked(codec: Codec[T], state: State, item: tuple[bytes, ...], position: int = 0) -> Peeked[T]:
    """One item of the peek script's reply; ``position`` counts from one."""
    envelope = item[0]
    at = item[1].decode()
    ended = wire.timestamp(int(at.split("-")[0])) if state in ("dead", "done") else None
    extra = item[2] if len(item) > 2 else b""
    priority: Priority = "normal"
    content: _Content[T]
    try:
        head = wire.parse(envelope)
        message_id, attempt, priority = head.id, head.attempt, head.priority
        published_at = wire.timestamp(head.published_ms)
        content = _content(codec, envelope, head)
        raw = envelope[head.payload_at :]
    except wire.BadEnvelope:
        message_id, attempt, published_at = at, 0, None
        content, raw = _Content[T](None, {}), envelope
    return Peeked(
        id=message_id,
        state=state,
        payload=content.payload,
        raw=raw,
        attempt=attempt,
        published_at=published_at,
        headers=content.headers,
        priority=priority,
        due_at=wire.timestamp(int(float(at))) if state == "delayed" else None,
        consumer=at if state == "in_flight" else None,
        finished_at=ended,
        duration=int(extra) / 1000 if state == "done" else None,
        reason=extra.decode("utf-8", "replace") if state == "dead" else None,
        error=item[3].decode("utf-8", "replace") if len(item) > 3 else None,
        cursor=at if state in ("dead", "done") else str(position),
    )
