"""The worlds that are searched to their end with all rules on.

``QUICK`` belongs to every test run, ``FULL`` to CI, ``LARGE`` to the soak: there each world is
searched for as long as it is given, and says whether that was enough.
"""

from __future__ import annotations

from .cases import A, B, faults
from .crashes import Crashes
from .exchange import Exchange
from .redis_side import Options
from .search import World
from .waiting import Waiting

WINDOW = Options(dedup="window")
DONE = Options(dedup="done")

QUICK: list[World] = [
    Exchange(
        "two producers, two consumers, two messages; a lost answer, a late copy, a lapsed lease",
        ((A,), (B,)),
        2,
        1,
        faults=faults(reply=1, late=1, expire=1),
    ),
    Exchange(
        "the same payload published by two, redriven by one; a late copy, a crash",
        ((A,), (("redrive",), A)),
        1,
        1,
        ("a", "d"),
        faults(late=1, crash=1),
        DONE,
    ),
    Waiting(
        "one message ready, one delayed; a goodbye, a crash",
        2,
        1,
        may={"publish": 1, "delay1": 1, "close": 1, "crash": 1},
    ),
    Crashes("a poison message in a batch of two; a stalled consumer", may={"stall": 1}),
]

FULL: list[World] = [
    Waiting(
        "three messages, one delayed; a crash", 2, 1, may={"publish": 2, "delay1": 1, "crash": 1}
    ),
    Exchange(
        "one message, retried; a lost answer, a late copy, a lapsed lease",
        ((A,),),
        2,
        1,
        ("a", "r1"),
        faults(reply=1, late=1, expire=1),
    ),
    Exchange(
        "two messages, two consumers; a failover to an older state, a lapsed lease",
        ((A,), (B,)),
        2,
        1,
        faults=faults(rollback=1, expire=1),
    ),
    Exchange(
        "two messages in one hand, given back or done; a failover, a lost answer",
        ((A,), (B,)),
        1,
        2,
        ("a", "R"),
        faults(release=1, rollback=1, reply=1),
    ),
    Exchange(
        "the same payload from two producers; a call given up, a late copy, a window that ends",
        ((A,), (A,)),
        1,
        1,
        ("a", "d"),
        faults(give_up=1, late=1, window=1),
        WINDOW,
    ),
    Exchange(
        "a full queue, a pause, a purge; a late copy",
        ((A, B), (("pause",), ("purge",), ("resume",))),
        1,
        1,
        ("a", "r0"),
        faults(late=1),
        Options(bound=1),
    ),
    Waiting(
        "batches of two, failing handlers, a goodbye, a broken connection",
        2,
        2,
        True,
        may={"publish": 2, "retry": 1, "close": 1, "cut": 1},
    ),
    Waiting("three consumers, one delayed message", 3, 1, may={"publish": 1, "delay1": 1}),
    Waiting(
        "a pause, a message delayed for long",
        2,
        1,
        may={"publish": 1, "delay3": 1, "pause": 1, "close": 1},
    ),
    Crashes(
        "poison between two others, two threads; an outage",
        ("a", "x", "b"),
        2,
        3,
        2,
        may={"outage": 1},
    ),
    Crashes("poison, held alone; a crash of an innocent consumer", batch=1, may={"crash": 1}),
]

LARGE: list[World] = [
    Exchange(
        "every fault of the network at once",
        ((A,), (B,)),
        2,
        2,
        ("a", "r0"),
        faults(reply=1, late=1, crash=1, expire=1),
    ),
    Exchange(
        "two late copies and two lost answers",
        ((A,), (B,)),
        2,
        1,
        ("a", "r1"),
        faults(reply=2, late=2, expire=1),
    ),
    Exchange(
        "a failover under every other fault",
        ((A,), (B,)),
        2,
        2,
        ("a", "R"),
        faults(release=1, rollback=1, reply=1, late=1, crash=1, close=1),
    ),
    Exchange(
        "deduplication with dying messages, redriven, given up, and repeated",
        ((A,), (A,), (("redrive",),)),
        2,
        1,
        ("a", "d"),
        faults(give_up=1, reply=1, late=1, window=1, crash=1),
        WINDOW,
    ),
    Exchange(
        "memory that runs out, keys that cannot be read, copies by hand, forks",
        ((A,), (B,)),
        2,
        2,
        ("a", "d"),
        faults(full=1, fail=1, copy=1, fork=1, reply=1),
    ),
    Waiting(
        "three consumers, everything once",
        3,
        1,
        may={"publish": 2, "delay1": 1, "retry": 1, "close": 1, "crash": 1, "pause": 1},
    ),
    Waiting(
        "batches, delayed messages, a crash, a broken connection",
        3,
        2,
        True,
        may={"publish": 3, "delay1": 1, "delay3": 1, "crash": 1, "cut": 1},
    ),
    Crashes(
        "poison between three others, two threads, a new one; a crash, a stall, a batch given back",
        ("a", "x", "b"),
        2,
        3,
        2,
        {"publish": 1, "crash": 1, "stall": 1, "release": 1},
        Options(max_attempts=3),
    ),
    Crashes(
        "three consumers; an outage, a stall",
        ("a", "x"),
        3,
        2,
        1,
        {"outage": 1, "stall": 1},
    ),
]
