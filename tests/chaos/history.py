"""What the processes have known, and whether it can be true together.

- What was confirmed to a producer is stored once, under one id.
- A delivery is begun once: no two processes hold one message under one number.
- At most one ack of a message was confirmed, and nothing later was delivered.
- In the end each stored message is completed or dead, and the counters say the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typed_rmq import QueueStats

__all__ = ["Broken", "Known", "judge", "read"]


class Broken(AssertionError):
    """A promise is broken."""


@dataclass
class Known:
    """Numbers of a history that was judged."""

    confirmed: int
    stored: int
    deliveries: int
    settled: int
    dead: int


def read(folder: Path) -> list[dict[str, Any]]:
    """All lines of all processes in the order of time, which all of a machine share."""
    events: list[dict[str, Any]] = []
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            if line.endswith("}"):  # the last one may be cut by kill -9
                events.append(json.loads(line))
    return sorted(events, key=lambda event: event["at"])


def _ensure(condition: object, what: str, *details: object) -> None:
    if not condition:
        raise Broken(": ".join([what, *map(repr, details)]))


def judge(
    events: Iterable[dict[str, Any]], stats: QueueStats, dead: dict[str, int], limit: int
) -> Known:
    """``dead`` is what lies there in the end, id to payload; ``limit`` the attempts allowed."""
    tried: set[int] = set()
    confirmed: dict[int, str] = {}
    payloads: dict[str, int] = {}
    deliveries: Counter[tuple[str, int]] = Counter()
    newest: dict[str, int] = {}
    acks: Counter[str] = Counter()
    settled: Counter[str] = Counter()
    for event in events:
        what = event["what"]
        if what == "try":
            tried.update(event["payloads"])
        elif what == "ok":
            confirmed.update(zip(event["payloads"], event["ids"], strict=True))
        elif what == "begin":
            identity, delivery = event["id"], event["delivery"]
            _ensure(payloads.setdefault(identity, event["payload"]) == event["payload"], "payload")
            deliveries[identity, delivery] += 1
            newest[identity] = max(newest.get(identity, 0), delivery)
            _ensure(event["attempt"] <= limit, "delivered too often", event)
            if settled[identity]:
                # One that has begun late, of a lease lost long ago, has an older number.
                _ensure(delivery < newest[identity], "delivered after a confirmed ack", event)
        elif what == "ack":
            acks[event["id"]] += 1
        elif what == "settled":
            settled[event["id"]] += 1
    twice = [pair for pair, count in deliveries.items() if count > 1]
    _ensure(not twice, "one delivery was begun twice", twice[:5])
    doubled = [one for one, count in settled.items() if count > 1]
    _ensure(not doubled, "completed twice", doubled[:5])
    both = [one for one in settled if one in dead]
    _ensure(not both, "completed, and dead", both[:5])
    ids = Counter(payloads.values())
    _ensure(all(n == 1 for n in ids.values()), "stored twice", ids.most_common(3))
    _ensure(set(payloads.values()) <= tried, "delivered what nobody has published")
    for identity, payload in payloads.items():
        known = confirmed.get(payload, identity)
        _ensure(known == identity, "stored under two ids", payload, known, identity)
    lost = [n for n, one in confirmed.items() if not acks[one] and one not in dead]
    _ensure(not lost, "confirmed, and lost", lost[:5])
    _ensure(len(confirmed) <= stats.published <= len(tried), "published", stats)
    _ensure((stats.ready, stats.delayed, stats.in_flight) == (0, 0, 0), "not drained", stats)
    _ensure(stats.published == stats.completed + len(dead), "stored is completed or dead", stats)
    _ensure(len(settled) <= stats.completed, "completed", stats, len(settled))
    return Known(len(confirmed), stats.published, deliveries.total(), len(settled), len(dead))
