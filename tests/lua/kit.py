"""Running the scripts one by one, as they are or with a planted fault."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import redis

from typed_rmq import commands, wire
from typed_rmq.commands import (
    FULL,
    Command,
    CycleReply,
    PublishReply,
    PurgeReply,
    ReapReply,
    RedriveReply,
    SessionKeys,
    Verdict,
    Way,
)
from typed_rmq.keys import QueueKeys
from typed_rmq.results import Priority

R = TypeVar("R")

WINDOW = 60_000
LEASE = 60_000


@dataclass(frozen=True)
class Mutant:
    """A planted fault: this piece of a script's source replaced by that one."""

    script: str
    old: str
    new: str

    def apply(self, name: str, source: str) -> str:
        if name != self.script:
            return source
        if self.old not in source:  # more than once where an include is
            raise LookupError(f"{name}.lua has no {self.old!r}")
        return source.replace(self.old, self.new)

    def __str__(self) -> str:
        return f"{self.script}: {self.old.strip()[:40]}"


@dataclass
class Kit:
    """A queue on a live server, used script by script.

    Every lane is numbered by itself; ``n=`` gives a number of one's own.
    """

    client: redis.Redis
    name: str
    mutant: Mutant | None = None
    general: bool = False
    """Always ``publish.lua`` and the long way of ``cycle.lua``, also where others would do."""
    numbers: dict[bytes, int] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        self.keys = QueueKeys(self.name)
        if self.mutant is not None and self.mutant.script == "publish":
            self.general = True

    # --- calls

    def run(self, command: Command[R], *, full: bool = False) -> R:
        source = command.script.source.decode()
        if self.mutant is not None:
            source = self.mutant.apply(command.script.name, source)
        args = list(command.args)
        if full:
            assert command.full_at is not None
            args[command.full_at] = FULL
        call: Any = self.client.eval
        return command.parse(call(source, len(command.keys), *command.keys, *args))

    def number(self, lane: bytes, n: int | None) -> int:
        if n is None:
            n = self.numbers.get(lane, 0) + 1
        self.numbers[lane] = max(n, self.numbers.get(lane, 0))
        return n

    def new_id(self) -> bytes:
        self.made += 1
        return b"idididididididid%08x" % self.made

    def envelope(
        self,
        payload: bytes,
        *,
        priority: Priority = "normal",
        key: str | None = None,
        content: str | None = None,
        until_done: bool = False,
        message_id: bytes | None = None,
    ) -> bytes:
        """What ``publish`` sends: without the first fourteen bytes."""
        mode, digests = b"-", b""
        if key is not None:
            mode = wire.mode_letter(until_done, explicit=content is not None)
            digests = key.encode().ljust(22, b"_") + (
                b"" if content is None else content.encode().ljust(22, b"_")
            )
        start = wire.build_start(priority, mode, b"")
        return wire.build(start, message_id or self.new_id(), digests, b"", payload)

    def store(
        self,
        envelopes: Sequence[bytes],
        *,
        lane: bytes = b"producer",
        n: int | None = None,
        window: int = WINDOW,
        delay: int = 0,
        due: int = 0,
        max_length: int = 0,
        overflow: str = "raise",
        touch: bool = False,
    ) -> PublishReply:
        keyed = [self.keys.dedup + e[42:64] for e in envelopes if e[2:3] != b"-"]
        # In one batch of a producer all have a key, or none has.
        alike = len(keyed) in (0, len(envelopes))
        if alike and not (self.general or max_length or delay or due):
            return self.run(
                commands.enqueue(
                    commands.enqueue_keys(self.keys, lane, b"hnl".index(envelopes[0][:1])),
                    self.number(lane, n),
                    window_ms=window,
                    touch=touch,
                    envelopes=envelopes,
                    dedup_keys=keyed,
                )
            )
        return self.run(
            commands.publish(
                self.keys,
                self.keys.lane(lane),
                self.number(lane, n),
                window_ms=window,
                delay_ms=delay,
                due_ms=due,
                max_length=max_length,
                overflow=overflow,
                envelopes=envelopes,
            )
        )

    def publish(self, *payloads: bytes, **options: Any) -> PublishReply:
        """Messages with these payloads; ``key``, ``priority`` and the like for all of them."""
        of_envelope = {
            name: options.pop(name)
            for name in ("priority", "key", "content", "until_done")
            if name in options
        }
        return self.store([self.envelope(p, **of_envelope) for p in payloads], **options)

    def cycle_command(
        self,
        session: bytes = b"a",
        *,
        n: int | None = None,
        want: int = 0,
        acks: Iterable[bytes] = (),
        verdicts: Sequence[Verdict] = (),
        held: int | None = None,
        closing: bool = False,
        keep_dead: int = 10_000,
        keep_done: int = 0,
        lease: int = LEASE,
        way: Way | None = None,
    ) -> Command[CycleReply]:
        if way is None:
            usual = not (self.general or verdicts or closing or keep_done) and want
            way = "woken" if usual else "long"
        if held is None:
            held = int(self.client.hlen(self.keys.inflight(session)))
        return commands.cycle(
            SessionKeys(
                self.keys, session, lease_ms=lease, keep_dead=keep_dead, keep_done=keep_done
            ),
            self.number(session, n),
            want=want,
            held=held,
            way=way,
            closing=closing,
            acks=list(acks),
            verdicts=verdicts,
        )

    def cycle(self, session: bytes = b"a", **options: Any) -> CycleReply:
        return self.run(self.cycle_command(session, **options))

    def claim(self, session: bytes = b"a", want: int = 1000) -> list[bytes]:
        return self.cycle(session, want=want).envelopes

    def reap(self, session: bytes, *, max_attempts: int = 5, keep_dead: int = 10_000) -> ReapReply:
        return self.run(
            commands.reap(self.keys, session, max_attempts=max_attempts, keep_dead=keep_dead)
        )

    def crash(self, session: bytes, **options: Any) -> ReapReply:
        """The session's lease runs out, and somebody reaps it."""
        self.expire(session)
        return self.reap(session, **options)

    def redrive(self, *ids: str, n: int | None = None, window: int = WINDOW) -> RedriveReply:
        return self.run(
            commands.redrive(
                self.keys,
                self.keys.lane(b"admin"),
                self.number(b"admin", n),
                window_ms=window,
                ids=ids,
            )
        )

    def purge(self, *, n: int | None = None, limit: int = 1000) -> PurgeReply:
        lane = self.keys.lane(b"admin")
        return self.run(commands.purge(self.keys, lane, self.number(b"admin", n), limit=limit))

    def dead_purge(self, *, n: int | None = None) -> int:
        lane = self.keys.lane(b"admin")
        return self.run(commands.dead_purge(self.keys, lane, self.number(b"admin", n)))

    def pause(self, paused: bool = True) -> None:
        lane = self.keys.lane(b"admin")
        self.run(commands.control(self.keys, lane, self.number(b"admin", None), paused=paused))

    # --- the passing of time

    def expire(self, session: bytes) -> None:
        self.client.zadd(self.keys.sessions, {session: 1})

    def all_due(self) -> None:
        for member in self.client.zrange(self.keys.delayed, 0, -1):
            self.client.zadd(self.keys.delayed, {member: 1})

    # --- looking

    def ready(self, priority: int = 1) -> list[bytes]:
        """The payloads of a ready list: 0 high, 1 normal, 2 low."""
        return [payload(e) for e in self.client.lrange(self.keys.ready[priority], 0, -1)]

    def suspects(self) -> list[bytes]:
        return self.client.lrange(self.keys.suspects, 0, -1)

    def held(self, session: bytes = b"a") -> set[bytes]:
        return {payload(e) for e in self.client.hvals(self.keys.inflight(session))}

    def delayed(self) -> list[bytes]:
        return [payload(e) for e in self.client.zrange(self.keys.delayed, 0, -1)]

    def dead(self) -> list[tuple[bytes, bytes]]:
        """Envelope and reason of each dead letter."""
        return [(f[b"e"], f[b"r"]) for _, f in self.client.xrange(self.keys.dead)]

    def dead_payloads(self) -> list[bytes]:
        return [payload(e) for e, _ in self.dead()]

    def counter(self, name: str) -> int:
        return int(self.client.hget(self.keys.stats, name) or 0)

    def rung(self) -> bool:
        return bool(self.client.exists(self.keys.bell))

    def silence(self) -> None:
        self.client.delete(self.keys.bell)

    def dedup(self, key: str) -> bytes | None:
        found = self.client.get(self.keys.prefix + b"dedup:" + key.encode().ljust(22, b"_"))
        assert found is None or isinstance(found, bytes)
        return found

    def dump(self) -> dict[bytes, object]:
        """Every key of the queue with its value."""
        found = sorted(self.client.scan_iter(match=self.keys.prefix + b"*", count=1000))
        return {key: self.client.dump(key) for key in found}


def payload(envelope: bytes) -> bytes:
    try:
        return envelope[wire.content_offset(envelope) :]
    except wire.BadEnvelope:
        return envelope


def fields(envelopes: Iterable[bytes]) -> list[bytes]:
    return [envelope[wire.FIELD] for envelope in envelopes]


def attempt(envelope: bytes) -> int:
    return wire.parse(envelope).attempt


def delivery(envelope: bytes) -> int:
    return wire.parse(envelope).delivery


def suspect(envelope: bytes) -> bool:
    return wire.parse(envelope).suspect


def message_id(envelope: bytes) -> str:
    return wire.parse(envelope).id


def ack(envelope: bytes, milliseconds: int = 1) -> Verdict:
    return Verdict(b"a", envelope[wire.FIELD], milliseconds)


def retry(envelope: bytes, delay: int = 0) -> Verdict:
    return Verdict(b"r", envelope[wire.FIELD], delay)


def release(envelope: bytes) -> Verdict:
    return Verdict(b"R", envelope[wire.FIELD])


def bury(envelope: bytes, reason: str = "no good") -> Verdict:
    return Verdict(b"d", envelope[wire.FIELD], reason, "Error: x", "Traceback")


def now_ms() -> int:
    return round(time.time() * 1000)
