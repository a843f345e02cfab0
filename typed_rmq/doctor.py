"""From what Redis tells of itself and of a queue to the findings of ``Queue.doctor()``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, cast

from . import scripts
from .commands import StatsReply
from .drivers.failures import Refused
from .findings import Finding, about_server, read_info
from .lookups import CheckupReply, SessionReply
from .scripts import Script
from .wire import whose

__all__ = ["QUESTIONS", "WORDS", "Facts", "diagnose"]

_SCRIPTS: Final = [one for one in vars(scripts).values() if isinstance(one, Script)]

WORDS: Final = tuple(
    sorted(
        {"EVAL", "EVALSHA", "BLPOP"}
        | {
            word
            for script in _SCRIPTS
            for word in re.findall(r"\bp?call\('([A-Z]+)'", script.source.decode())
        }
    )
)
"""Every command that a producer or a consumer needs a right to."""

QUESTIONS: Final[tuple[tuple[str | bytes, ...], ...]] = (
    ("TIME",),
    ("INFO",),
    ("CONFIG", "GET", "appendfsync"),
    ("CONFIG", "GET", "min-replicas-to-write"),
    ("SCRIPT", "EXISTS", *(script.sha for script in _SCRIPTS)),
)

OLD: Final = 600.0
"""Seconds that a message may have been ready for before it is a warning."""

MANY_SCRIPTS: Final = 1_000
SHOWN: Final = 5


@dataclass(frozen=True)
class Facts:
    """What was asked for; ``stats`` and ``sessions`` are missing where keys are not ours."""

    checkup: CheckupReply
    asked_at: float
    answered_at: float
    answers: list[object]
    stats: StatsReply | None
    sessions: list[SessionReply]


def diagnose(facts: Facts) -> list[Finding]:
    """Every topic with at least one finding, also where all is well."""
    moment, info, fsync, minimum, known = facts.answers
    return [
        *_server(info, fsync, minimum),
        _clock(moment, facts),
        _rights(facts.checkup),
        _cache(known, info),
        _types(facts.checkup),
        *([] if facts.stats is None else _queue(facts.stats, facts.sessions)),
    ]


def _server(info: object, fsync: object, minimum: object) -> list[Finding]:
    if not isinstance(info, bytes):
        return [
            Finding(
                "info",
                "server",
                "this user may not ask the server (INFO): its version, persistence, eviction, "
                "memory, and replicas are not checked",
                "give the user +info, or run this as one who has it",
            )
        ]
    config: dict[str, str] = {}
    for answer in (fsync, minimum):
        # A list, or a mapping where the client speaks RESP3.
        if isinstance(answer, list):
            pair = cast("list[bytes]", answer)
            config.update(zip(map(_text, pair[::2]), map(_text, pair[1::2]), strict=False))
        elif isinstance(answer, dict):
            mapping = cast("dict[bytes, bytes]", answer)
            config.update((_text(name), _text(value)) for name, value in mapping.items())
    return about_server(read_info(info), config)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _clock(moment: object, facts: Facts) -> Finding:
    if isinstance(moment, Refused) or not isinstance(moment, list):
        return Finding("info", "clock", "this user may not ask for the server's time", "give +time")
    seconds, micro = cast("list[bytes]", moment)
    theirs = int(seconds) + int(micro) / 1e6
    ours = (facts.asked_at + facts.answered_at) / 2
    return Finding(
        "info",
        "clock",
        f"the server's clock is {theirs - ours:+.1f} s from this machine's; only its own counts",
    )


def _rights(checkup: CheckupReply) -> Finding:
    if not checkup.known:
        return Finding(
            "info", "rights", "this server cannot tell rights beforehand (Redis 7 and Valkey can)"
        )
    if checkup.missing:
        return Finding(
            "error",
            "rights",
            f"this user lacks {', '.join(checkup.missing)}",
            "compare its rights with the rule in docs/operations",
        )
    return Finding("ok", "rights", "this user may do all that producers and consumers do")


def _cache(known: object, info: object) -> Finding:
    cached = read_info(info).get("number_of_cached_scripts", "0") if isinstance(info, bytes) else ""
    if cached.isdecimal() and int(cached) > MANY_SCRIPTS:
        return Finding(
            "warning",
            "scripts",
            f"Redis holds {int(cached):,} scripts: some client writes values into its scripts",
            "find it and let it pass them as ARGV: every script takes memory for ever",
        )
    if not isinstance(known, list):
        return Finding("info", "scripts", "this user may not ask for the script cache (SCRIPT)")
    there = sum(1 for one in cast("list[object]", known) if one)
    return Finding(
        "ok",
        "scripts",
        f"{there} of {len(_SCRIPTS)} scripts are in the server's cache; the others are sent at "
        "their first use",
    )


def _types(checkup: CheckupReply) -> Finding:
    if checkup.wrong:
        return Finding(
            "error",
            "keys",
            f"{', '.join(checkup.wrong)}: not of the type that typed_rmq makes",
            "look at what it holds and who wrote it, then rename or delete it",
        )
    return Finding("ok", "keys", "all are of the right type")


def _queue(stats: StatsReply, sessions: list[SessionReply]) -> list[Finding]:
    gone = [one for one in sessions if one.left_ms < 0]
    found = [_consumers(stats), _expired(gone), _oldest(stats)]
    if stats.paused:
        found.append(Finding("warning", "paused", "the queue is paused", "resume() lets it go on"))
    if stats.dead:
        found.append(
            Finding(
                "info",
                "dead letters",
                f"{stats.dead:,} are kept",
                "read their reasons (queue.dead), then redrive or purge them",
            )
        )
    return found


def _consumers(stats: StatsReply) -> Finding:
    if not stats.consumers and stats.ready + stats.delayed:
        return Finding(
            "warning",
            "consumers",
            f"nobody consumes; messages that wait: {stats.ready + stats.delayed:,}",
            "start a worker",
        )
    return Finding("ok", "consumers", f"{stats.consumers} have a live lease")


def _expired(gone: list[SessionReply]) -> Finding:
    if not gone:
        return Finding("ok", "sessions", "no consumer has outlived its lease")
    held = sum(one.held for one in gone)
    names = [f"{host or one.session}:{pid}" for one in gone for host, pid in [whose(one.session)]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return Finding(
        "warning",
        "sessions",
        f"{len(gone)} consumers have outlived their lease, with {held} messages in hand: "
        f"{', '.join(names[:SHOWN])}{more}",
        "a running consumer gives their messages back within its lease; start one",
    )


def _oldest(stats: StatsReply) -> Finding:
    age = stats.oldest_ms / 1000
    if not stats.ready:
        return Finding("ok", "age", "no message waits")
    text = f"the oldest ready message was published {age:,.0f} s ago"
    if age > OLD:
        return Finding("warning", "age", text, "add consumers, or find out what holds them up")
    return Finding("ok", "age", text)
