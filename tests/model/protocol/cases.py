"""For each part of each rule: the smallest world that needs it, and what breaks without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import crashes as cr
from . import exchange_parts as ex
from . import redis_side as side
from . import waiting_parts as wa
from .crashes import Crashes
from .exchange import Exchange
from .exchange_parts import Op
from .redis_side import Options
from .rules import RULES
from .search import DRAINS, World
from .waiting import Waiting

A: Op = ("publish", "a")
B: Op = ("publish", "b")

COUNTERS = "counters equal contents"
LOSS = side.LOSS


@dataclass(frozen=True)
class Case:
    """The same world is searched with the rule on and off; ``breaks`` is what must be found."""

    world: World
    breaks: str


def exchange(*callers: tuple[Op, ...], breaks: str, dedup: str = "off", **more: Any) -> Case:
    options = more.pop("options", Options(dedup=dedup))
    name = f"exchange of {len(callers)}"
    return Case(Exchange(name, callers, options=options, **more), breaks)


def faults(**kinds: int) -> dict[str, int]:
    return {kind.replace("_", " "): count for kind, count in kinds.items()}


def crashing(messages: tuple[str, ...] = ("x", "a"), *, breaks: str, **more: Any) -> Case:
    return Case(Crashes(f"crashes of {' '.join(messages)}", messages, **more), breaks)


def waiting(
    *, breaks: str, consumers: int = 2, capacity: int = 1, batches: bool = False, **may: int
) -> Case:
    return Case(Waiting(f"waiting of {consumers}", consumers, capacity, batches, may), breaks)


CASES: dict[str, Case] = {
    "1-repeat-is-answered": exchange((A,), faults=faults(reply=1), breaks=ex.ONCE),
    "1-repeat-brings-all-held": exchange((A,), faults=faults(reply=1), breaks=DRAINS),
    "1-old-is-refused": exchange((A, B), faults=faults(late=1), breaks=ex.ONCE),
    "1-loss-is-noticed": exchange((A,), faults=faults(rollback=1), breaks=DRAINS),
    "1-refusal-is-recorded": exchange(
        (A,), (B,), faults=faults(late=1), options=Options(bound=1), breaks=ex.ONCE
    ),
    "1-number-is-never-reused": exchange((A, B), faults=faults(give_up=1), breaks=ex.ONCE),
    "1-repeated-unchanged": exchange(
        (A,), (B,), capacity=2, faults=faults(reply=1), breaks=ex.CONFIRMED
    ),
    "1-lane-outlives-session": exchange((A,), faults=faults(late=1, expire=1), breaks=COUNTERS),
    "2-new-after-reaping": exchange((A,), faults=faults(expire=1), breaks=DRAINS),
    "2-new-after-fork": exchange((A,), consumers=2, faults=faults(fork=1), breaks=ex.ONE_HOLDER),
    "2-new-after-restart": crashing(breaks=cr.KILLS),
    "3-read-then-write": exchange((A,), faults=faults(fail=1), breaks=LOSS),
    "4-cycle-passes-when-full": exchange((A,), faults=faults(full=1), breaks=DRAINS),
    "4-publish-is-refused-whole": exchange((A,), faults=faults(full=1), breaks=ex.FULL),
    "4-repeats-need-no-memory": exchange((A,), faults=faults(reply=1, full=1), breaks=ex.ONCE),
    "5-no-overwrite": exchange((A,), capacity=2, faults=faults(copy=1), breaks=LOSS),
    "6-claimed-alone": crashing(breaks=cr.KILLS),
    "6-hands-are-empty": crashing(("x", "a", "b"), threads=2, breaks=cr.KILLS),
    "6-nothing-beside-it": crashing(consumers=1, threads=2, may={"publish": 1}, breaks=cr.KILLS),
    "6-counted-if-alone": crashing(("x", "a"), breaks=cr.INNOCENT, options=Options(max_attempts=1)),
    "6-release-keeps-the-mark": crashing(
        consumers=1, may={"release": 1, "publish": 1}, breaks=cr.KILLS
    ),
    "7-seen-twice": crashing(("a",), may={"outage": 1}, breaks=cr.LIVING),
    "7-forgotten-with-connection": crashing(
        ("a",), may={"stall": 1, "outage": 1}, breaks=cr.LIVING
    ),
    "7-entry-goes-last": crashing(
        ("a", "b", "c"),
        batch=3,
        may={"crash": 1},
        breaks=LOSS,
        options=Options(max_attempts=2, reap_part=2),
    ),
    "7-renewed-is-spared": crashing(("a",), may={"stall": 1}, breaks=cr.LIVING),
    "7-reaping-closes-the-short-way": exchange((A,), (B,), faults=faults(expire=1), breaks=LOSS),
    "7-reaped-is-stale": exchange((A,), consumers=2, faults=faults(expire=1), breaks=COUNTERS),
    "8-only-its-own-key": exchange(
        (A, A, A),
        decide=("a", "d"),
        dedup="window",
        faults=faults(window=1),
        breaks=side.ONE_PER_KEY,
    ),
    "8-freed-when-dead": exchange((A, A), decide=("d",), dedup="window", breaks=side.FREES),
    "8-freed-when-purged": exchange((A, ("purge",), A), dedup="window", breaks=side.FREES),
    "8-freed-when-done": exchange((A, A), dedup="done", breaks=side.FREES),
    "8-redrive-sees-the-holder": exchange(
        (A, A, ("redrive",)), decide=("a", "d"), dedup="window", breaks=side.ONE_PER_KEY
    ),
    "8-redrive-takes-the-key": exchange(
        (A, ("redrive",), A), decide=("a", "d"), dedup="window", breaks=side.ONE_PER_KEY
    ),
    "9-publish-rings": waiting(publish=1, breaks=wa.BESIDE),
    "9-cycle-passes-it-on": waiting(publish=2, breaks=wa.BESIDE),
    "9-woken-pass-it-on": waiting(publish=3, breaks=wa.BESIDE),
    "9-earlier-due-rings": waiting(publish=2, retry=1, breaks=wa.BESIDE, capacity=2, batches=True),
    "9-delayed-publish-rings": waiting(delay1=1, breaks=wa.BESIDE),
    "9-claim-passes-due-on": waiting(publish=1, delay1=1, breaks=wa.BESIDE),
    "9-reap-rings": waiting(publish=2, die=1, breaks=wa.BESIDE, consumers=3),
    "9-resume-rings": waiting(publish=1, pause=1, breaks=wa.BESIDE),
    "9-closing-rings": waiting(publish=1, close=1, breaks=wa.BESIDE),
    "9-waits-are-bounded": waiting(publish=1, crash=1, breaks=wa.BESIDE),
    "9-wakes-when-due": waiting(delay1=1, breaks=wa.BESIDE),
    "9-cycle-before-sleep": waiting(publish=1, cut=1, breaks=wa.BESIDE),
    "9-due-now-means-claimable": waiting(publish=1, pause=1, breaks=wa.SPINS),
    "9-stale-bell-is-taken-down": waiting(publish=1, close=1, breaks=wa.BASELINE),
    "10-ids-come-first": exchange((A,), faults=faults(reply=1), breaks=ex.NAMED),
    "10-retries-are-kept": exchange(
        (A,), (B,), decide=("a", "r0"), options=Options(bound=1), breaks=LOSS
    ),
    "10-purge-spares-the-held": exchange((A,), (("purge",),), breaks=ex.IN_TIME),
    "10-pause-claims-nothing": exchange((A,), (("pause",), ("resume",)), breaks=side.PAUSED),
    "10-pause-settles": exchange((A,), (("pause",), ("resume",)), breaks=DRAINS),
    "10-admin-has-a-lane": exchange((("purge",), A), faults=faults(late=1), breaks=ex.PURGED),
}

assert CASES.keys() == RULES.keys()
