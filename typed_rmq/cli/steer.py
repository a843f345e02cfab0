"""``pause``, ``resume``, ``purge``."""

from __future__ import annotations

from .common import ExitCode, QueueName, RedisUrl, Target, Yes, confirmed, guarded
from .output import say

__all__ = ["pause", "purge", "resume"]


@guarded
def pause(queue: QueueName, redis: RedisUrl = None) -> int:
    """Let consumers take nothing more; what they hold they finish. Publishing goes on."""
    target = Target(redis)
    with target.queue(queue) as one:
        one.pause()
        stats = one.stats()
    say(f"{queue} is paused: {stats.ready} ready, {stats.in_flight} in flight")
    return ExitCode.DONE


@guarded
def resume(queue: QueueName, redis: RedisUrl = None) -> int:
    """Let consumers go on after a pause."""
    target = Target(redis)
    with target.queue(queue) as one:
        one.resume()
        stats = one.stats()
    say(f"{queue} goes on: {stats.ready} ready, {stats.consumers} consumers")
    return ExitCode.DONE


@guarded
def purge(queue: QueueName, redis: RedisUrl = None, yes: Yes = False) -> int:
    """Delete all ready and delayed messages, and free their dedup keys.

    What consumers hold stays, and so do dead letters.
    """
    target = Target(redis)
    with target.queue(queue) as one:
        stats = one.stats()
        waiting = stats.ready + stats.delayed
        if not waiting and target.missing(one):
            return ExitCode.PARTLY
        if waiting and not confirmed(f"Delete {waiting:,} messages of {queue}?", yes=yes):
            return ExitCode.FAILED
        say(f"{one.purge():,} messages of {queue} deleted")
    return ExitCode.DONE
