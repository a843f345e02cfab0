"""The sums of the demo, and whether they add up. Pure: no Redis, no files, no clock.

Three witnesses are compared: the processes' own journals, the queue's logs and counters, and
the input file. The rules:

1. Every line of the file was read, and each is refused, a duplicate, or published.
2. Every published message is processed once or dead; none is lost, none is invented.
3. The queue's log holds each completion exactly once, and the workers say the same.
4. No order was processed as two messages, and none that can be fulfilled is missing.
5. What the killed worker held was finished by others.
6. The queue's counters agree with its contents, and nothing is left in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .journal import Entry

__all__ = ["Evidence", "Journals", "check"]


@dataclass
class Journals:
    """The journals of all processes, added up."""

    read: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    published: dict[str, str] = field(default_factory=dict[str, str])
    """Message id to order id."""
    publish_calls: int = 0
    """How often a publisher was told that it published; equals ``len(published)``."""
    duplicates: int = 0
    deliveries: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Message id to the names of the workers that got it, in the order of reading."""
    completed: set[str] = field(default_factory=set[str])
    """Message ids. A set: fulfilling an order twice after a crash changes nothing."""
    rejected: Counter[str] = field(default_factory=Counter[str])
    failed: set[str] = field(default_factory=set[str])
    """Ids of messages that failed and were tried again."""
    stalled: str | None = None
    """The message in whose handler a worker waits for kill -9."""

    def add(self, entries: Iterable[Entry]) -> None:
        """Count what one process wrote."""
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        match entry.event:
            case "read":
                self.read += entry.count
            case "refused":
                self.refused[entry.why] += 1
            case "duplicate":
                self.duplicates += 1
            case "published":
                self.publish_calls += 1
                self.published[entry.message_id] = entry.order_id
            case "delivered":
                self.deliveries.setdefault(entry.message_id, []).append(entry.who)
            case "completed":
                self.completed.add(entry.message_id)
            case "rejected":
                self.rejected[entry.why] += 1
            case "failed":
                self.failed.add(entry.message_id)
            case "stalled":
                self.stalled = entry.message_id


@dataclass(frozen=True)
class Evidence:
    """All that the check looks at."""

    journals: Journals
    lines_in_file: int
    fulfillable: frozenset[str]
    """Ids of the orders in the file that are valid and can be fulfilled, found independently."""
    done: tuple[str, ...]
    """Message ids in the queue's log of completions."""
    dead: Mapping[str, str]
    """Message id to the reason on the dead letter."""
    held_at_kill: frozenset[str]
    """Message ids that were in the killed worker's hands."""
    killed: str
    """The killed worker's name."""
    counters: Mapping[str, int]
    """``published``, ``duplicates``, ``completed``, ``dead_lettered`` as the queue counted them."""
    left_over: int
    """Messages ready, delayed, or in flight at the end."""

    @property
    def redelivered(self) -> frozenset[str]:
        """What the killed worker held and another worker got."""
        deliveries = self.journals.deliveries
        return frozenset(
            message_id
            for message_id in self.held_at_kill
            if any(who != self.killed for who in deliveries.get(message_id, ()))
        )


def check(evidence: Evidence) -> list[str]:
    """What does not add up, in words; an empty list when all does."""
    return [
        *_lines(evidence),
        *_messages(evidence),
        *_orders(evidence),
        *_crash(evidence),
        *_counters(evidence),
    ]


def _lines(evidence: Evidence) -> list[str]:
    journals = evidence.journals
    problems: list[str] = []
    if journals.read != evidence.lines_in_file:
        problems.append(f"{evidence.lines_in_file} lines in the file, {journals.read} read")
    refused = journals.refused.total()
    if journals.read != refused + journals.duplicates + journals.publish_calls:
        problems.append(
            f"read {journals.read} is not refused {refused} + duplicates {journals.duplicates}"
            f" + published {journals.publish_calls}"
        )
    if journals.publish_calls != len(journals.published):
        problems.append(
            f"{journals.publish_calls} publishes gave only {len(journals.published)} message ids"
        )
    return problems


def _messages(evidence: Evidence) -> list[str]:
    journals = evidence.journals
    published, done, dead = set(journals.published), set(evidence.done), set(evidence.dead)
    problems: list[str] = []
    if len(published) != len(evidence.done) + len(dead):
        problems.append(
            f"published {len(published)} is not processed once {len(evidence.done)}"
            f" + dead {len(dead)}"
        )
    problems += _ids("completed more than once", _repeated(evidence.done))
    problems += _ids("both completed and dead", done & dead)
    problems += _ids("published, then lost", published - done - dead)
    problems += _ids("never published, yet there", (done | dead) - published)
    problems += _ids("completed by the queue's log, not by a worker", done - journals.completed)
    problems += _ids("completed by a worker, not by the queue's log", journals.completed - done)
    return problems


def _orders(evidence: Evidence) -> list[str]:
    orders = [
        evidence.journals.published[message_id]
        for message_id in sorted(set(evidence.done))
        if message_id in evidence.journals.published
    ]
    return [
        *_ids("orders processed as two messages", _repeated(orders)),
        *_ids("orders not processed", evidence.fulfillable - set(orders)),
        *_ids("orders processed that cannot be fulfilled", set(orders) - evidence.fulfillable),
    ]


def _crash(evidence: Evidence) -> list[str]:
    stalled = evidence.journals.stalled
    if stalled is None:
        return ["no worker was killed in the middle of an order"]
    problems: list[str] = []
    if stalled not in evidence.held_at_kill:
        problems.append(f"message {stalled} was not in flight when its worker was killed")
    missing = evidence.held_at_kill - evidence.redelivered
    return problems + _ids("held by the killed worker, never redelivered", missing)


def _counters(evidence: Evidence) -> list[str]:
    expected = {
        "published": len(evidence.journals.published),
        "duplicates": evidence.journals.duplicates,
        "completed": len(evidence.done),
        "dead_lettered": len(evidence.dead),
    }
    problems = [
        f"the queue counted {evidence.counters.get(name)} {name}, it should be {number}"
        for name, number in expected.items()
        if evidence.counters.get(name) != number
    ]
    if evidence.left_over:
        problems.append(f"{evidence.left_over} messages are left in the queue")
    return problems


def _repeated(values: Iterable[str]) -> set[str]:
    return {value for value, times in Counter(values).items() if times > 1}


def _ids(what: str, ids: Iterable[str]) -> list[str]:
    found = sorted(ids)
    if not found:
        return []
    shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    return [f"{what}: {len(found)} ({shown})"]
