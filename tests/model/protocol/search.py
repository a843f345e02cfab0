"""Breadth first through everything that can happen, to the shortest way into trouble.

A world has a first state, and says of each state what can happen next. Each such step is a fault
or not. The search visits every state once and asks two questions:

* Does the state break an invariant? The way that led there is then a shortest one.
* Can the world still come to rest from here, with no further fault? This is asked at the end, of
  all states, by walking back from the states at rest over the steps that are no faults. It is how
  'everything drains after the faults stop' is checked: under fair scheduling, what can always come
  to rest does.
"""

from __future__ import annotations

import gc
import time
from array import array
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from .rules import Off

Label = tuple[Any, ...]
"""What happened: a sentence with ``{}`` in it, and what to put there."""

Happening = tuple[Label, Any, bool]
"""What happened, the state after it, and whether it was a fault."""

DRAINS = "everything drains once the faults stop"


class World(Protocol):
    """What the search needs to know."""

    @property
    def name(self) -> str: ...

    def initial(self) -> Hashable: ...

    def without(self, off: Off) -> World:
        """The same world with these rules switched off."""
        ...

    def steps(self, state: Any) -> Iterator[Happening]:
        """All that can happen next."""
        ...

    def broken(self, state: Any) -> str | None:
        """The invariant that this state breaks, if it does."""
        ...

    def at_rest(self, state: Any) -> bool:
        """Whether all work is done, so that nothing more needs to happen."""
        ...

    def describe(self, state: Any) -> str:
        """The state in words."""
        ...


@dataclass(frozen=True)
class Found:
    """The outcome of a search; ``violated`` is ``None`` where all states were visited in vain."""

    world: str
    states: int
    steps: int
    seconds: float
    violated: str | None
    trace: tuple[str, ...]
    last: str
    complete: bool

    def __str__(self) -> str:
        head = f"{self.world}: {self.states:,} states, {self.steps:,} steps, {self.seconds:.1f} s"
        if self.violated is None:
            return head + (", exhausted" if self.complete else ", NOT exhausted")
        lines = [f"{head}; broken: {self.violated}"]
        lines += [f"  {number:2}. {text}" for number, text in enumerate(self.trace, 1)]
        return "\n".join([*lines, *(f"      {line}" for line in self.last.split("\n"))])


def say(label: Label) -> str:
    return str(label[0]).format(*label[1:])


def explore(
    world: World, *, limit: int | None = None, seconds: float | None = None, compact: bool = False
) -> Found:
    """Visit every state, ``limit`` of them or ``seconds`` at most.

    ``compact`` keeps the 64-bit hash of a state in place of the state: a fraction of the memory,
    and a chance of about n²/2⁶⁵ that two of n states are taken for one.
    """
    enabled = gc.isenabled()
    gc.disable()  # millions of tuples, none of them in a ring
    try:
        return _explore(world, limit, seconds, compact)
    finally:
        if enabled:
            gc.enable()


def _explore(world: World, limit: int | None, seconds: float | None, compact: bool) -> Found:
    began = time.perf_counter()
    first = world.initial()
    seen: dict[Any, int] = {hash(first) if compact else first: 0}
    parents, labels = array("l", [-1]), array("l", [0])
    sentences: dict[Label, int] = {}
    resting = bytearray([world.at_rest(first)])
    backward_from, backward_to = array("l"), array("l")
    frontier: deque[tuple[int, Any]] = deque([(0, first)])
    steps, complete = 0, True

    def found(violated: str | None, at: int, state: Any) -> Found:
        said: list[str] = []
        texts = list(sentences)
        while parents[at] >= 0:
            said.append(say(texts[labels[at]]))
            at = parents[at]
        return Found(
            world.name,
            len(seen),
            steps,
            time.perf_counter() - began,
            violated,
            tuple(reversed(said)),
            "" if state is None else world.describe(state),
            complete and violated is None,
        )

    violated = world.broken(first)
    if violated:
        return found(violated, 0, first)
    while frontier:
        at, state = frontier.popleft()
        if (limit and len(seen) > limit) or (seconds and time.perf_counter() - began > seconds):
            complete = False
            break
        for label, after, fault in world.steps(state):
            steps += 1
            key = hash(after) if compact else after
            known = seen.get(key)
            if known is None:
                known = seen[key] = len(parents)
                parents.append(at)
                labels.append(sentences.setdefault(label, len(sentences)))
                resting.append(world.at_rest(after))
                violated = world.broken(after)
                if violated:
                    return found(violated, known, after)
                frontier.append((known, after))
            if not fault and known != at:
                backward_from.append(known)
                backward_to.append(at)
    if complete:
        stuck = _stuck(resting, backward_from, backward_to)
        if stuck is not None:
            return found(DRAINS, stuck, _again(world, stuck, parents, seen, compact))
    return found(None, 0, None)


def _stuck(resting: bytearray, sources: array[int], targets: array[int]) -> int | None:
    """The first state, in the order of the search, from which none at rest can be reached."""
    into: list[list[int] | None] = [None] * len(resting)
    for source, target in zip(sources, targets, strict=True):
        known = into[source]
        if known is None:
            into[source] = [target]
        else:
            known.append(target)
    walk = [index for index, rests in enumerate(resting) if rests]
    reached = bytearray(resting)
    while walk:
        for index in into[walk.pop()] or ():
            if not reached[index]:
                reached[index] = 1
                walk.append(index)
    at = reached.find(0)
    return None if at < 0 else at


def _again(world: World, at: int, parents: array[int], seen: dict[Any, int], compact: bool) -> Any:
    """The state of this number; where only hashes were kept, by going its way again."""
    if not compact:
        return next(state for state, number in seen.items() if number == at)
    way: list[int] = []
    while at > 0:
        way.append(at)
        at = parents[at]
    state: Any = world.initial()
    for number in reversed(way):
        state = next(after for _, after, _ in world.steps(state) if seen[hash(after)] == number)
    return state
