"""A queue as plain Python lists: what the scripts must do, said a second time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

PRIORITIES = ("high", "normal", "low")


@dataclass
class Message:
    """A stored message; ``delivery`` and ``attempt`` are those of its next or current delivery."""

    id: str
    priority: int
    key: str | None
    until_done: bool
    envelope: bytes = b""
    delivery: int = 1
    attempt: int = 1
    suspect: bool = False

    @property
    def fence(self) -> bytes:
        return f"{self.id}:{self.delivery:06}".encode()

    def head(self) -> tuple[str, int, int, bool]:
        return self.id, self.delivery, self.attempt, self.suspect


@dataclass
class Model:
    ready: list[list[Message]] = field(default_factory=lambda: [[], [], []])
    suspects: list[Message] = field(default_factory=list)
    delayed: list[tuple[int, Message]] = field(default_factory=list)
    held: dict[bytes, list[Message]] = field(default_factory=dict)
    dead: list[Message] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    paused: bool = False
    done: set[str] = field(default_factory=set)
    stored: int = 0
    gone: int = 0

    # --- pieces

    def waiting(self) -> int:
        return sum(map(len, self.ready)) + len(self.suspects) + len(self.delayed)

    def free(self, messages: Iterable[Message]) -> None:
        for one in messages:
            if one.key is not None and self.keys.get(one.key) == one.id:
                del self.keys[one.key]

    def due_first(self) -> list[Message]:
        self.delayed.sort(key=lambda entry: (entry[0], entry[1].envelope))
        return [message for _, message in self.delayed]

    # --- what the scripts do

    def publish(self, new: list[Message], due: int | None, bound: int, drop: bool) -> str:
        """The script's answer."""
        answer: list[str] = []
        taken = dict(self.keys)
        fresh: list[Message] = []
        for index, one in enumerate(new):
            if one.key is not None and one.key in taken:
                answer.append(f"{index}={taken[one.key]}")
                continue
            if one.key is not None:
                taken[one.key] = one.id
            fresh.append(one)
        over = self.waiting() + len(fresh) - bound if bound and fresh else 0
        if over > 0 and not drop:
            return "full"
        victims: list[Message] = []
        for which in (2, 1, 0):
            count = max(0, over - len(victims))
            victims += self.ready[which][:count]
            del self.ready[which][:count]
        for one in self.due_first()[: max(0, over - len(victims))]:
            victims.append(one)
            self.delayed = [entry for entry in self.delayed if entry[1] is not one]
        answer += [f"-{one.id}" for one in victims]
        self.free(victims)
        self.gone += len(victims)
        for one in fresh:
            if one.key is not None:
                self.keys[one.key] = one.id
            if due is None:
                self.ready[one.priority].append(one)
            else:
                self.delayed.append((due, one))
        self.stored += len(fresh)
        self.counters["published"] += len(fresh)
        self.counters["duplicates"] += len(new) - len(fresh)
        self.counters["dropped"] += len(victims)
        return ",".join(answer)

    def cycle(
        self,
        session: bytes,
        want: int,
        verdicts: list[tuple[str, bytes]],
        now: int,
        later: int,
    ) -> tuple[list[Message], list[bytes], bool]:
        """Claimed messages, stale fields, and whether the session must drain."""
        held = self.held.setdefault(session, [])
        stale: list[bytes] = []
        front: list[list[Message]] = [[], [], []]
        back: list[list[Message]] = [[], [], []]
        suspected: list[Message] = []
        for kind, fence in verdicts:
            found = next((one for one in held if one.fence == fence), None)
            if found is None:
                stale.append(fence)
                self.counters["stale"] += 1
                continue
            held.remove(found)
            if kind == "ack":
                assert found.id not in self.done, "a second verdict took effect"
                self.done.add(found.id)
                self.counters["completed"] += 1
                if found.until_done:
                    self.free([found])
                self.gone += 1
            elif kind == "dead":
                self.counters["failed"] += 1
                self.counters["dead_lettered"] += 1
                self.free([found])
                self.dead.append(found)
            elif kind == "release":
                self.counters["released"] += 1
                found.delivery += 1
                (suspected if found.suspect else front[found.priority]).append(found)
            else:
                self.counters["failed"] += 1
                self.counters["retried"] += 1
                found.delivery += 1
                found.attempt += 1
                found.suspect = False
                if kind == "retry":
                    back[found.priority].append(found)
                else:
                    self.delayed.append((later, found))
        for some in (*front, suspected):  # whatever the order of the verdicts: the oldest first
            some.sort(key=lambda one: one.envelope)
        claims = want > 0 and not self.paused
        if claims:
            for one in self.due_first():
                if next(at for at, other in self.delayed if other is one) <= now:
                    back[one.priority].append(one)
            self.delayed = [entry for entry in self.delayed if entry[0] > now]
        self.suspects = suspected + self.suspects
        for which in range(3):
            self.ready[which] = front[which] + self.ready[which] + back[which]
        claimed: list[Message] = []
        drain = claims and bool(self.suspects) and bool(held)
        if claims and self.suspects and not held:
            claimed = [self.suspects.pop(0)]
        elif claims and not self.suspects:
            for which in range(3):
                count = want - len(claimed)
                claimed += self.ready[which][:count]
                del self.ready[which][:count]
        held += claimed
        return claimed, stale, drain

    def reap(self, session: bytes, max_attempts: int) -> tuple[list[str], list[str]]:
        """Ids that wait again, and ids that are dead letters."""
        held = sorted(self.held.pop(session, []), key=lambda one: one.envelope)
        alone = len(held) == 1
        back: list[Message] = []
        buried: list[Message] = []
        self.counters["failed"] += alone
        for one in held:
            if alone and one.attempt >= max_attempts:
                buried.append(one)
                continue
            one.attempt += alone
            one.delivery += 1
            one.suspect = True
            back.append(one)
        self.counters["retried"] += len(back) if alone else 0
        self.counters["dead_lettered"] += len(buried)
        self.free(buried)
        self.dead += buried
        self.suspects = back + self.suspects
        return [one.id for one in back], [one.id for one in buried]

    def redrive(self, ids: set[str] | None) -> tuple[int, list[tuple[str, str]]]:
        """How many, and the conflicts."""
        conflicts: list[tuple[str, str]] = []
        moved: list[Message] = []
        for one in self.dead:
            if ids is not None and one.id not in ids:
                continue
            holder = None if one.key is None else self.keys.get(one.key)
            if holder is not None and holder != one.id:
                conflicts.append((one.id, holder))
                continue
            if one.key is not None:
                self.keys[one.key] = one.id
            moved.append(one)
        for one in moved:
            self.dead.remove(one)
            one.delivery += 1
            one.attempt = 1
            one.suspect = False
            self.ready[one.priority].append(one)
        return len(moved), conflicts

    def purge(self, limit: int) -> tuple[int, int]:
        """How many went, and how many are left."""
        gone: list[Message] = []
        for items in (*self.ready, self.suspects):
            count = limit - len(gone)
            gone += items[:count]
            del items[:count]
        for one in self.due_first()[: limit - len(gone)]:
            gone.append(one)
            self.delayed = [entry for entry in self.delayed if entry[1] is not one]
        self.free(gone)
        self.gone += len(gone)
        self.counters["purged"] += len(gone)
        return len(gone), self.waiting()
