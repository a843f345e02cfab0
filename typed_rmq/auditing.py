"""Whether all that a queue holds fits together: what ``Queue.audit()`` asks and makes of it.

Every message is in exactly one place, every place holds what belongs there, the index leads to the
dead letters, and the counters account for every message that was ever published::

    published = ready + delayed + in flight + completed + dead + dropped + purged

What spans several places can only be said of one moment, so of one call.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from . import lookups
from .commands import Command
from .findings import Audit, Finding
from .keys import QueueKeys
from .lookups import AuditReply

__all__ = ["COUNTERS", "Auditor"]

COUNTERS: Final = (
    "published", "duplicates", "completed", "failed", "retried", "dead_lettered", "released",
    "stale", "dropped", "purged",
)  # fmt: skip

_HEAD: Final = re.compile(rb"1\d{13}([hnl])([s-])[-wdWD]\d{4}[0-9a-f]{4}.{24}:\d{6}", re.DOTALL)
_ID: Final = slice(25, 49)
_FIELD: Final = slice(25, 56)
_NAMES: Final = {
    1: "ready:high",
    2: "ready:normal",
    3: "ready:low",
    4: "suspects",
    5: "delayed",
    6: "in flight",
    7: "dead",
    9: "done",
}
_LETTERS: Final = {1: b"h", 2: b"n", 3: b"l"}
STEP: Final = 1_000
SHOWN: Final = 5

REMOVED: Final = "somebody wrote to the queue's keys, or Redis lost a part of them; "
LOOK: Final = REMOVED + "look at it with peek() or find()"


class Auditor:
    """One audit under way: send what ``commands`` yields, and ``note`` each reply."""

    def __init__(self, keys: QueueKeys, limit: int) -> None:
        self._keys = keys
        self._limit = limit
        self._after = ""
        self._findings: list[Finding] = []
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._examples: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
        self._messages = 0
        self._steps = 0
        self._whole = True
        self._scanned = False

    def commands(self) -> Iterator[Command[AuditReply]]:
        """One call for all; where that is too much, call after call."""
        yield lookups.audit(self._keys, limit=self._limit)
        if self._whole:
            return
        for place in (4, 1, 2, 3, 5, 6, 7, 8, 9):
            self._after = ""
            while True:
                yield lookups.audit(self._keys, limit=STEP, place=place, after=self._after)
                if not self._after:
                    break

    def note(self, reply: AuditReply) -> None:
        """Judge what a call saw."""
        first = self._steps == 0
        self._steps += 1
        self._after = reply.after
        if first:
            self._whole = reply.total <= self._limit
            self._of_keys(reply)
            if not self._whole:
                self._findings.append(
                    Finding(
                        "info",
                        "audit",
                        f"{reply.total:,} messages are too many for one call: each call saw a "
                        "snapshot, and whether the counters account for every message is not known",
                        "audit(limit=...) looks at more in one call, which holds up Redis longer",
                    )
                )
        self._of_places(reply)
        for found, text in (
            (reply.unheld, "no longer hold their dedup key: an equal one can be published"),
            (reply.unindexed, "are dead, and the index dead:ids does not lead to them"),
            (reply.dangling, "are in the index dead:ids, which leads to no dead letter"),
        ):
            for one in found:
                self._bad("index" if "index" in text else "dedup", text, LOOK, one)
        if first and self._whole and not reply.wrong:
            self._account(reply)

    def orphan(self, key: str, held: int) -> None:
        """A key that holds the messages of a session that is not registered."""
        self._findings.append(
            Finding(
                "error",
                "in flight",
                f"{key} holds {held} messages, and its session is not registered: nobody will "
                "give them back",
                "write to sessions what is missing: ZADD with score 0 and the session's name lets "
                "a consumer give them back",
            )
        )

    def unsearched(self, why: str) -> None:
        """Orphans could not be looked for everywhere."""
        advice = "look with redis-cli --scan for inflight keys that sessions does not name"
        self._findings.append(Finding("info", "in flight", why, advice))

    def result(self) -> Audit:
        """All findings, each kind once, with some ids."""
        found = list(self._findings)
        for kind, count in self._counts.items():
            topic, text, advice = kind
            shown = ", ".join(self._examples[kind])
            more = f" and {count - SHOWN} more" if count > SHOWN else ""
            found.append(Finding("error", topic, f"{text}: {shown}{more}", advice))
        return Audit(tuple(found), self._messages, self._steps)

    # --- the rules

    def _bad(self, topic: str, text: str, advice: str, example: str) -> None:
        kind = topic, f"messages that {text}", advice
        self._counts[kind] += 1
        if len(self._examples[kind]) < SHOWN:
            self._examples[kind].append(example)

    def _of_keys(self, reply: AuditReply) -> None:
        for key in reply.wrong:
            self._findings.append(
                Finding(
                    "error",
                    "keys",
                    f"{key} is not of the type that typed_rmq makes",
                    "look at what it holds and who wrote it, then rename or delete it",
                )
            )
        for name, value in reply.counters.items():
            if name in COUNTERS and not re.fullmatch(r"\d{1,18}", value):
                self._findings.append(
                    Finding(
                        "error",
                        "counters",
                        f"the counter {name} in stats is {value!r:.40}, which is no count",
                        "set it to a whole number: calls that count it fail as long as it is none",
                    )
                )
        if reply.sizes[11] > 1:
            self._findings.append(
                Finding(
                    "warning",
                    "bell",
                    f"the bell holds {reply.sizes[11]} tokens, and one is all that is ever needed",
                    "delete the key bell once; the next publish rings again",
                )
            )

    def _of_places(self, reply: AuditReply) -> None:
        live: dict[bytes, str] = {}
        ended: dict[bytes, str] = {}
        for place, items in reply.places.items():
            name = _NAMES.get(place, "")
            for envelope, detail in items:
                self._messages += 1
                where = name if place != 6 else f"in flight at {detail.partition(' ')[0]}"
                head = _HEAD.match(envelope)
                if head is None:
                    self._unreadable(place, where, detail)
                    continue
                message_id = envelope[_ID]
                text = message_id.decode("ascii", "replace")
                self._of_one(place, where, envelope, head, detail, text)
                if place == 7 and detail.endswith("u"):
                    continue  # known to be a second copy, kept as it was found
                seen = ended if place == 9 else live
                other = seen.get(message_id)
                if other is not None:
                    self._bad(
                        "twice", f"are twice: {' and '.join(sorted((other, where)))}", LOOK, text
                    )
                seen[message_id] = where
        for message_id in live.keys() & ended.keys():
            self._bad(
                "twice",
                f"were completed and are still there: {live[message_id]}",
                LOOK,
                message_id.decode("ascii", "replace"),
            )

    def _unreadable(self, place: int, where: str, detail: str) -> None:
        if place == 7:
            return  # this is where such bytes belong
        self._bad(
            "foreign",
            f"are none: {where} holds bytes without the head of a message",
            "a consumer that meets them makes them dead letters; find out who wrote them",
            detail or where,
        )

    def _of_one(
        self,
        place: int,
        where: str,
        envelope: bytes,
        head: re.Match[bytes],
        detail: str,
        message_id: str,
    ) -> None:
        letter = _LETTERS.get(place)
        if letter is not None and head[1] != letter:
            self._bad("place", f"are in {where} with another priority", LOOK, message_id)
        suspect = head[2] == b"s"
        if place == 4 and not suspect:
            self._bad("place", "are in suspects without the mark of a suspect", LOOK, message_id)
        if place in (1, 2, 3, 5) and suspect:
            self._bad("place", f"are crash suspects in {where}: not alone", LOOK, message_id)
        if place == 6 and envelope[_FIELD] != detail.partition(" ")[2].encode():
            self._bad("in flight", "are held under the name of another delivery", LOOK, message_id)

    def _account(self, reply: AuditReply) -> None:
        """The sum over all places, which one call has seen at one moment."""
        counted = {name: reply.counters.get(name, "0") for name in COUNTERS}
        if not all(value.isdecimal() for value in counted.values()):
            return
        number = {name: int(value) for name, value in counted.items()}
        there: dict[int, int] = {}
        for place, items in reply.places.items():
            there[place] = sum(
                1
                for envelope, detail in items
                if _HEAD.match(envelope) and not (place == 7 and detail.endswith("u"))
            )
        waiting, held = sum(there[place] for place in range(1, 6)), there[6]
        accounted = (
            waiting + held + there[7] + number["completed"] + number["dropped"] + number["purged"]
        )
        if accounted != number["published"]:
            self._findings.append(_unaccounted(number, waiting, held, there[7], accounted))
        for less, more in _no_more(number, there):
            self._findings.append(Finding("error", "counters", f"{less} than {more}", LOOK))


def _unaccounted(
    number: dict[str, int], waiting: int, held: int, dead: int, accounted: int
) -> Finding:
    parts = (
        f"{waiting} wait, {held} are in flight, {dead} are dead letters, {number['completed']} are "
        f"completed, {number['dropped']} dropped, {number['purged']} purged, of "
        f"{number['published']} published"
    )
    missing = number["published"] - accounted
    if missing > 0:
        return Finding(
            "error",
            "sum",
            f"{missing} messages are nowhere: {parts}",
            REMOVED + "publish what is missing again, from where it came",
        )
    return Finding(
        "error",
        "sum",
        f"there are {-missing} messages more than were published: {parts}",
        REMOVED + "look for copies with peek()",
    )


def _no_more(number: dict[str, int], there: dict[int, int]) -> Iterable[tuple[str, str]]:
    if number["failed"] < number["retried"]:
        yield "fewer failures are counted", "retries of them"
    if there[9] > number["completed"]:
        yield "fewer completions are counted", "are logged in done"
    if there[7] > number["dead_lettered"]:
        yield "fewer dead letters are counted", "are there"
