"""The calls that go to Redis: a script with its keys and arguments, and how its reply is read.

Each function here is the one place where a script's KEYS and ARGV are put in order.
"""

from __future__ import annotations

from .command import FULL, Arg, Command
from .flow import (
    CycleReply,
    PublishReply,
    ReapReply,
    SessionKeys,
    Told,
    Verdict,
    Way,
    cycle,
    enqueue,
    enqueue_keys,
    publish,
    reap,
    renew,
)
from .looking import DeadEntry, StatsReply, dead_read, peek, seen, stats
from .steering import (
    PromoteReply,
    PurgeReply,
    RedriveReply,
    control,
    dead_purge,
    promote,
    purge,
    redrive,
)

__all__ = [
    "FULL",
    "Arg",
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
    "Told",
    "Verdict",
    "Way",
    "control",
    "cycle",
    "dead_purge",
    "dead_read",
    "enqueue",
    "enqueue_keys",
    "peek",
    "promote",
    "publish",
    "purge",
    "reap",
    "redrive",
    "renew",
    "seen",
    "stats",
]
