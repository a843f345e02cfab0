"""The calls that go to Redis: a script with its keys and arguments, and how its reply is read.

Each function here is the one place where a script's KEYS and ARGV are put in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, TypeVar, cast

from . import scripts, wire
from .keys import QueueKeys
from .results import State
from .scripts import Script

R = TypeVar("R", covariant=True)

Arg = bytes | str | int

FULL: Final = "full"

__all__ = [
    "FULL",
    "Command",
    "CycleReply",
    "DeadEntry",
    "PromoteReply",
    "PublishReply",
    "PurgeReply",
    "ReapReply",
    "RedriveReply",
    "SessionKeys",
    "StatsReply",
    "Verdict",
    "Way",
]


@dataclass(slots=True)
class Command(Generic[R]):
    """One call of a script.

    Its keys are ``fixed``, those of many calls alike, and ``more``, those of this one.
    ``full_at`` is the position of the argument that lets the script pass when Redis is out of
    memory, where it is ``FULL``; without one, such a refusal is the answer (``QueueFull``).
    """

    script: Script
    fixed: tuple[bytes, ...]
    args: list[Arg]
    parse: Callable[[object], R]
    full_at: int | None = None
    more: Sequence[bytes] = ()

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All of the keys."""
        return (*self.fixed, *self.more)


# --- reading replies: what the scripts return is lists of bytes and integers


def _items(reply: object) -> list[object]:
    if not isinstance(reply, list):
        raise ValueError("a script's reply is not a list")
    return cast("list[object]", reply)


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("a script's reply has no number where one belongs")
    return value


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        raise ValueError("a script's reply has no text where one belongs")
    return value.decode()


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a script's reply has no text where one belongs")
    return value


# --- publish


class PublishReply(NamedTuple):
    """``status`` is new, again, or old; ``answer`` as in ``publish.lua``.

    ``total`` is the number of messages ever published, 0 where the reply does not tell.
    """

    status: str
    answer: str
    lost: int
    total: int = 0


def _publish_reply(reply: object) -> PublishReply:
    if isinstance(reply, int):
        return PublishReply("new", "", 0, reply)
    status, answer, lost = _items(reply)
    return PublishReply(_text(status), _text(answer), _integer(lost))


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


Way = Literal["long", "short", "woken"]


def _cycle_reply(reply: object) -> CycleReply:
    items = _items(reply)
    # The first byte of an envelope is a digit, that of a status a letter.
    if _bytes(items[0])[:1] == b"1":
        # Unchecked on purpose: a batch of a thousand is not walked twice.
        return CycleReply("short", None, (), False, 0, False, (), cast("list[bytes]", items))
    status, wait, answer, lost, drain, expired, envelopes = items
    text = _bytes(answer)
    reaped = text.startswith(b"!")
    if reaped:
        text = text[1:]
    wait_ms = _integer(wait)
    return CycleReply(
        _text(status),
        None if wait_ms < 0 else wait_ms / 1000,
        tuple(text.split(b",")) if text else (),
        reaped,
        _integer(lost),
        drain == 1,
        tuple(_bytes(session) for session in _items(expired)),
        cast("list[bytes]", _items(envelopes)),
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
    state, returned, buried = _items(reply)
    return ReapReply(
        _text(state),
        tuple(wire.shown(_bytes(item)) for item in _items(returned)),
        tuple(wire.shown(_bytes(item)) for item in _items(buried)),
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


# --- administration


def _status(reply: object) -> str:
    return _text(_items(reply)[0])


def control(keys: QueueKeys, lane_key: bytes, n: int, *, paused: bool) -> Command[str]:
    return Command(
        scripts.CONTROL, (lane_key, keys.meta, keys.bell), [n, 1 if paused else 0], _status
    )


class PurgeReply(NamedTuple):
    status: str
    deleted: int
    left: int


def _purge_reply(reply: object) -> PurgeReply:
    status, deleted, left = _items(reply)
    return PurgeReply(_text(status), _integer(deleted), _integer(left))


def purge(keys: QueueKeys, lane_key: bytes, n: int, *, limit: int = 1000) -> Command[PurgeReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.PURGE,
        (
            lane_key,
            high,
            normal,
            low,
            keys.suspects,
            keys.delayed,
            keys.bell,
            keys.meta,
            keys.room,
            keys.stats,
        ),
        [n, keys.prefix, limit],
        _purge_reply,
    )


class RedriveReply(NamedTuple):
    """``last`` is the stream id of the last letter looked at, ``-`` where there was none."""

    redriven: int
    seen: int
    last: str
    conflicts: tuple[tuple[str, str], ...]


def _redrive_reply(reply: object) -> RedriveReply:
    _, answer = _items(reply)
    redriven, seen, last, conflicts = _text(answer).split(" ")
    pairs = (pair.split("=") for pair in conflicts.split(",") if pair)
    return RedriveReply(int(redriven), int(seen), last, tuple((pair[0], pair[1]) for pair in pairs))


def redrive(
    keys: QueueKeys,
    lane_key: bytes,
    n: int,
    *,
    window_ms: int,
    after: str = "-",
    limit: int = 500,
    ids: Sequence[str] = (),
) -> Command[RedriveReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.REDRIVE,
        (lane_key, high, normal, low, keys.dead, keys.dead_ids, keys.bell, keys.meta),
        [n, keys.prefix, window_ms, after, limit, *ids],
        _redrive_reply,
    )


def dead_purge(keys: QueueKeys, lane_key: bytes, n: int) -> Command[int]:
    return Command(
        scripts.DEAD_PURGE,
        (lane_key, keys.dead, keys.dead_ids, keys.stats),
        [n],
        lambda reply: _integer(_items(reply)[1]),
    )


class PromoteReply(NamedTuple):
    promoted: int
    seen: int


def _promote_reply(reply: object) -> PromoteReply:
    _, answer = _items(reply)
    promoted, seen = _text(answer).split(" ")
    return PromoteReply(int(promoted), int(seen))


def promote(
    keys: QueueKeys, lane_key: bytes, n: int, *, skip: int, limit: int, ids: Sequence[str] = ()
) -> Command[PromoteReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.PROMOTE,
        (lane_key, high, normal, low, keys.delayed, keys.bell, keys.meta),
        [n, skip, limit, *ids],
        _promote_reply,
    )


class DeadEntry(NamedTuple):
    """One dead letter as it lies in the stream."""

    at: str
    envelope: bytes
    reason: str
    error: str | None
    traceback: str | None


def _dead_entries(reply: object) -> list[DeadEntry]:
    entries: list[DeadEntry] = []
    for item in _items(reply):
        at, flat = _items(item)
        pieces = [_bytes(piece) for piece in _items(flat)]
        fields = dict(zip(pieces[::2], pieces[1::2], strict=True))
        error, traceback = fields.get(b"x"), fields.get(b"t")
        entries.append(
            DeadEntry(
                _text(at),
                fields.get(b"e", b""),
                fields.get(b"r", b"").decode("utf-8", "replace"),
                None if error is None else error.decode("utf-8", "replace"),
                None if traceback is None else traceback.decode("utf-8", "replace"),
            )
        )
    return entries


def dead_read(
    keys: QueueKeys, *, message_id: str = "", after: str = "-", limit: int = 100
) -> Command[list[DeadEntry]]:
    return Command(
        scripts.DEAD_READ, (keys.dead, keys.dead_ids), [message_id, after, limit], _dead_entries
    )


# --- looking


class StatsReply(NamedTuple):
    ready: int
    delayed: int
    in_flight: int
    dead: int
    done: int
    oldest_ms: int
    consumers: int
    paused: bool
    counters: dict[str, int]


def _stats_reply(reply: object) -> StatsReply:
    *numbers, paused, flat = _items(reply)
    ready, delayed, in_flight, dead, done, oldest, consumers = (_integer(n) for n in numbers)
    pieces = [_text(piece) for piece in _items(flat)]
    counters = {name: int(value) for name, value in zip(pieces[::2], pieces[1::2], strict=True)}
    return StatsReply(
        ready, delayed, in_flight, dead, done, oldest, consumers, paused == 1, counters
    )


def stats(keys: QueueKeys) -> Command[StatsReply]:
    high, normal, low = keys.ready
    return Command(
        scripts.STATS,
        (
            high,
            normal,
            low,
            keys.suspects,
            keys.delayed,
            keys.sessions,
            keys.dead,
            keys.done,
            keys.meta,
            keys.stats,
        ),
        [keys.prefix],
        _stats_reply,
    )


def seen(reply: object) -> list[tuple[bytes, ...]]:
    """Messages as ``peek`` and ``find`` return them."""
    return [tuple(_bytes(piece) for piece in _items(item)) for item in _items(reply)]


def peek(
    keys: QueueKeys, *, state: State, limit: int, after: str = ""
) -> Command[list[tuple[bytes, ...]]]:
    """Reply: an envelope each, and what ``peek.lua`` knows beside it."""
    high, normal, low = keys.ready
    return Command(
        scripts.PEEK,
        (high, normal, low, keys.suspects, keys.delayed, keys.sessions, keys.dead, keys.done),
        [keys.prefix, state, limit, after],
        seen,
    )
