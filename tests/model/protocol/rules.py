"""The parts of the ten rules, by the names that switch them off.

A name begins with the number of its rule. The text says what holds while it is on; a run with it
off must break something, or it would be no rule.
"""

from __future__ import annotations

from collections.abc import Iterable

RULES: dict[str, str] = {
    # 1: operation numbers
    "1-repeat-is-answered": "a number that was done is answered, not done again",
    "1-repeat-brings-all-held": "the answer to a repeated claim brings all that the session holds",
    "1-old-is-refused": "a number below the last one does nothing",
    "1-loss-is-noticed": "a number too high: nothing is claimed, and the client's view is replaced",
    "1-refusal-is-recorded": "'full' is an answer like any other, and is remembered",
    "1-number-is-never-reused": "a call that was given up takes its lane with it",
    "1-repeated-unchanged": "a call without an answer is repeated as it was",
    "1-lane-outlives-session": "neither reaping nor closing deletes a lane",
    # 2: session names
    "2-new-after-reaping": "a reaped session's name is not used again",
    "2-new-after-restart": "a new process takes a new name",
    "2-new-after-fork": "the child of a fork takes a new name and forgets what the parent holds",
    # 3: read everything, then write
    "3-read-then-write": "all that can fail is read before the first write",
    # 4: out of memory
    "4-cycle-passes-when-full": "acks and claims begin with a DEL when Redis is out of memory",
    "4-publish-is-refused-whole": "a publish begins with a write that a full Redis refuses",
    "4-repeats-need-no-memory": "a full Redis answers a repeated publish with what was done",
    # 5: claims never overwrite
    "5-no-overwrite": "a second copy of what is held becomes a dead letter",
    # 6: a suspect is alone
    "6-claimed-alone": "a suspect is claimed with nothing else",
    "6-hands-are-empty": "and only by hands that hold nothing",
    "6-nothing-beside-it": "and nothing is claimed while it is held",
    "6-counted-if-alone": "only of a message held alone does a crash count as an attempt",
    "6-release-keeps-the-mark": "a release keeps the mark",
    # 7: reaping
    "7-seen-twice": "a session is reaped after it was seen expired twice, a grace apart",
    "7-forgotten-with-connection": "a new connection forgets which sessions were seen expired",
    "7-entry-goes-last": "a session's entry goes when all that it held is back",
    "7-renewed-is-spared": "reap looks at the deadline again",
    "7-reaping-closes-the-short-way": "a session that was reaped goes the long way, which tells it",
    "7-reaped-is-stale": "what a session no longer holds, it cannot settle",
    # 8: dedup keys
    "8-only-its-own-key": "a key is freed only by the message whose id it holds",
    "8-freed-when-dead": "a message that dies frees its key",
    "8-freed-when-purged": "a message that is purged frees its key",
    "8-freed-when-done": "an ack frees a key that is held until then",
    "8-redrive-sees-the-holder": "redrive leaves a letter whose key another message holds",
    "8-redrive-takes-the-key": "redrive takes the key back",
    # 9: the bell
    "9-publish-rings": "a publish rings",
    "9-cycle-passes-it-on": "a cycle that leaves work behind rings",
    "9-woken-pass-it-on": "who was woken and leaves work behind rings, also by the short way",
    "9-earlier-due-rings": "a retry that is due before all else rings",
    "9-delayed-publish-rings": "a delayed message that is due before all else rings",
    "9-reap-rings": "reaping rings",
    "9-resume-rings": "resume rings",
    "9-closing-rings": "a consumer that goes tells the others what it knew",
    "9-claim-passes-due-on": "who claims and knows of something delayed rings for the others",
    "9-waits-are-bounded": "nobody sleeps for ever",
    "9-wakes-when-due": "nobody sleeps longer than until the next due time",
    "9-cycle-before-sleep": "nobody sleeps before a cycle found nothing",
    "9-due-now-means-claimable": "'due now' is said only of what can be claimed now",
    "9-stale-bell-is-taken-down": "a cycle that finds nothing takes the bell down",
    # 10: the rest
    "10-ids-come-first": "ids are made by the client, before sending",
    "10-retries-are-kept": "what comes back is never dropped for max_length",
    "10-purge-spares-the-held": "purge leaves alone what consumers hold",
    "10-pause-claims-nothing": "a paused queue hands out nothing",
    "10-pause-settles": "a paused queue takes verdicts",
    "10-admin-has-a-lane": "administrative calls are numbered too",
}

Off = frozenset[str]

ALL_ON: Off = frozenset()


def switched_off(names: Iterable[str]) -> Off:
    """These rules off. ``LookupError`` for a name that is none."""
    off = frozenset(names)
    unknown = sorted(off - RULES.keys())
    if unknown:
        raise LookupError(f"no such rule: {', '.join(unknown)}; see --list")
    return off
