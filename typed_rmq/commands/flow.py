"""The calls that messages go through: publish, cycle, and what keeps leases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

from .. import scripts, wire
from ..keys import QueueKeys
from .command import Arg, Command, bytes_of, integer_of, items_of, text_of

__all__ = ["CycleReply", "PublishReply", "ReapReply", "SessionKeys", "Told", "Verdict", "Way"]


# --- publish


class Told(NamedTuple):
    """What Redis says to a lane that it does not know; see ``lua/lib/epoch.lua``."""

    epoch: bytes
    seconds: int
    n: int


def _told(text: bytes) -> Told | None:
    if not text:
        return None
    epoch, seconds, n = text.split()
    return Told(epoch, int(seconds), int(n))


class PublishReply(NamedTuple):
    """``status`` is new, again, or old; ``answer`` as in ``publish.lua``.

    ``total``, the number of messages ever published, is that of the usual reply to ``enqueue``,
    which is nothing else; ``published`` is the same of any other reply. 0 where it is not told.
    """

    status: str
    answer: str
    lost: int
    total: int = 0
    published: int = 0
    told: Told | None = None


def _publish_reply(reply: object) -> PublishReply:
    if isinstance(reply, int):
        return PublishReply("new", "", 0, reply)
    status, answer, lost, *more = items_of(reply)
    total, told = more or (0, b"")
    return PublishReply(
        text_of(status),
        text_of(answer),
        integer_of(lost),
        0,
        integer_of(total),
        _told(bytes_of(told)),
    )


def enqueue_keys(keys: QueueKeys, lane: bytes, priority: int) -> tuple[bytes, ...]:
    """The keys of all such calls in one lane; the priority is 0 high, 1 normal, 2 low."""
    return (keys.lane(lane), keys.stats, keys.ready[priority], keys.bell, keys.meta)


def enqueue(
    keys: tuple[bytes, ...],
    n: int,
    *,
    window_ms: int,
    touch: bool,
    envelopes: Sequence[bytes],
    dedup_keys: Sequence[bytes],
) -> Command[PublishReply]:
    return Command(
        scripts.ENQUEUE,
        keys,
        [b"%d" % n, b"%d" % window_ms, b"1" if touch else b"0", *envelopes],
        _publish_reply,
        None,
        dedup_keys,
    )


def publish(
    keys: QueueKeys,
    lane_key: bytes,
    n: int,
    *,
    window_ms: int,
    delay_ms: int,
    due_ms: int,
    max_length: int,
    overflow: str,
    envelopes: Sequence[bytes],
) -> Command[PublishReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.PUBLISH,
        (
            lane_key,
            keys.stats,
            keys.meta,
            keys.bell,
            high,
            normal,
            low,
            keys.suspects,
            keys.delayed,
            keys.room,
        ),
        [n, keys.prefix, window_ms, delay_ms, due_ms, max_length, overflow, *envelopes],
        _publish_reply,
    )


# --- cycle


class Verdict(NamedTuple):
    """What a consumer decided about a message; ``kind`` and ``a`` to ``c`` as in ``cycle.lua``."""

    kind: Literal[b"a", b"r", b"R", b"d"]
    field: bytes
    a: Arg = b""
    b: Arg = b""
    c: Arg = b""


class CycleReply(NamedTuple):
    """``wait`` in seconds, ``None`` where nothing is known to come; else as in ``cycle.lua``.

    A reply by the short way has the status ``short`` and nothing but envelopes.
    """

    status: str
    wait: float | None
    stale: tuple[bytes, ...]
    reaped: bool
    lost: int
    drain: bool
    expired: tuple[bytes, ...]
    envelopes: list[bytes]
    told: Told | None = None


Way = Literal["long", "short", "woken"]


def _cycle_reply(reply: object) -> CycleReply:
    items = items_of(reply)
    # The first byte of an envelope is a digit, that of a status a letter.
    if bytes_of(items[0])[:1] == b"1":
        # Unchecked on purpose: a batch of a thousand is not walked twice.
        return CycleReply("short", None, (), False, 0, False, (), cast("list[bytes]", items))
    status, wait, answer, lost, drain, expired, envelopes, *told = items
    text = bytes_of(answer)
    reaped = text.startswith(b"!")
    if reaped:
        text = text[1:]
    wait_ms = integer_of(wait)
    return CycleReply(
        text_of(status),
        None if wait_ms < 0 else wait_ms / 1000,
        tuple(text.split(b",")) if text else (),
        reaped,
        integer_of(lost),
        drain == 1,
        tuple(bytes_of(session) for session in items_of(expired)),
        cast("list[bytes]", items_of(envelopes)),
        _told(bytes_of(told[0])) if told else None,
    )


class SessionKeys:
    """What the calls of one session have in common, made once."""

    __slots__ = ("closing", "keys", "options")

    def __init__(
        self, keys: QueueKeys, session: bytes, *, lease_ms: int, keep_dead: int, keep_done: int
    ) -> None:
        high, normal, low = keys.ready
        self.keys: tuple[bytes, ...] = (
            keys.lane(session),
            keys.inflight(session),
            keys.stats,
            normal,
            high,
            low,
            keys.suspects,
            keys.delayed,
            keys.meta,
            keys.bell,
        )
        options = b"%b %d %d %d" % (session, lease_ms, keep_dead, keep_done)
        self.options: bytes = b"%b 0 %b" % (options, keys.prefix)
        self.closing: bytes = b"%b 1 %b" % (options, keys.prefix)


def cycle(
    session: SessionKeys,
    n: int,
    *,
    want: int,
    held: int,
    way: Way = "long",
    closing: bool = False,
    acks: Sequence[bytes],
    verdicts: Sequence[Verdict] = (),
) -> Command[CycleReply]:
    options = session.closing if closing else session.options
    args: list[Arg] = [n, want, held, len(acks), way, options, *acks]
    for verdict in verdicts:
        # Reasons may come from anywhere, also with lone surrogates, and must not stop the call.
        args.extend(
            part.encode("utf-8", "backslashreplace") if isinstance(part, str) else part
            for part in verdict
        )
    return Command(scripts.CYCLE, session.keys, args, _cycle_reply, full_at=4)


# --- leases


class ReapReply(NamedTuple):
    """``state`` is reaped, part, renewed, or gone."""

    state: str
    returned: tuple[str, ...]
    buried: tuple[str, ...]


def _reap_reply(reply: object) -> ReapReply:
    state, returned, buried = items_of(reply)
    return ReapReply(
        text_of(state),
        tuple(wire.shown(bytes_of(item)) for item in items_of(returned)),
        tuple(wire.shown(bytes_of(item)) for item in items_of(buried)),
    )


def reap(
    keys: QueueKeys, session: bytes, *, max_attempts: int, keep_dead: int
) -> Command[ReapReply]:
    return Command(
        scripts.REAP,
        (
            keys.lane(session),
            keys.inflight(session),
            keys.sessions,
            keys.stats,
            keys.meta,
            keys.bell,
            keys.suspects,
            keys.dead,
            keys.dead_ids,
        ),
        [session, max_attempts, keys.prefix, keep_dead, ""],
        _reap_reply,
        full_at=4,
    )


def renew(keys: QueueKeys, session: bytes, *, lease_ms: int) -> Command[bool]:
    return Command(
        scripts.RENEW,
        (keys.sessions,),
        [session, lease_ms, "", keys.prefix],
        lambda reply: reply == 1,
        full_at=2,
    )
