"""What is known of a message's life, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from typed_rmq import DeadLetter, Peeked

from .series import Sighting
from .words import duration

__all__ = ["Moment", "timeline"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of it; ``at`` is ``None`` where nobody noted the time."""

    at: datetime | None
    text: str
    kind: str = "plain"


def timeline(
    seen: Peeked[object] | None,
    letter: DeadLetter[object] | None,
    sightings: Sequence[tuple[Sighting, str]],
    failures: Mapping[int, float],
) -> list[Moment]:
    """The moments of a message, oldest first, and each of its attempts.

    Redis keeps when a message was published and when it ended, and how many attempts there were.
    What lies between is known only as far as a sample of the dashboard caught it: ``failures``
    says which attempts were seen to have failed when.
    """
    moments: list[Moment] = []
    published = letter.published_at if letter else seen.published_at if seen else None
    if published is not None:
        moments.append(Moment(published, "Published"))
    attempts = letter.attempts if letter else seen.attempt if seen else 1
    between = list(_failed(attempts - 1, failures))
    for sighting, where in sightings:
        at = datetime.fromtimestamp(sighting.first, UTC)
        held = sighting.last - sighting.first
        how_long = f" for at least {duration(held)}" if held >= 1 else ""
        moment = Moment(at, f"Seen in flight at {where}{how_long}", "held")
        between.append((sighting.first, moment))
    moments += [moment for _, moment in sorted(between, key=lambda one: one[0])]
    moments += _last(seen, letter)
    return moments


def _failed(count: int, seen: Mapping[int, float]) -> Iterator[tuple[float, Moment]]:
    """The attempts 1 to ``count``, which have failed, with the time to sort them by."""
    after, first = float("-inf"), 1
    for attempt in [*sorted(one for one in seen if one <= count), count + 1]:
        if first < attempt:
            yield (
                after,
                Moment(None, f"{_named(first, attempt)} failed; when was not seen", "failed"),
            )
        if attempt <= count:
            after, first = seen[attempt], attempt + 1
            at = datetime.fromtimestamp(after, UTC)
            text = f"Attempt {attempt} had failed: seen waiting for attempt {attempt + 1}"
            yield after, Moment(at, text, "failed")


def _named(first: int, end: int) -> str:
    """The attempts from ``first`` on that are before ``end``."""
    if end - first == 1:
        return f"Attempt {first}"
    return f"Attempts {first} {'and' if end - first == 2 else 'to'} {end - 1}"


def _last(seen: Peeked[object] | None, letter: DeadLetter[object] | None) -> list[Moment]:
    if letter is not None:
        which = f" after attempt {letter.attempts}" if letter.attempts else ""
        return [Moment(letter.died_at, f"Dead{which}: {letter.reason}", "dead")]
    if seen is None:
        return []
    if seen.state == "done":
        done = Moment(seen.finished_at, f"Done in attempt {seen.attempt}", "done")
        if seen.duration is None or seen.finished_at is None:
            return [done]
        began = seen.finished_at - timedelta(seconds=seen.duration)
        text = f"Attempt {seen.attempt} began, which took {duration(seen.duration)}"
        return [Moment(began, text, "held"), done]
    if seen.state == "delayed":
        return [Moment(seen.due_at, f"Due for attempt {seen.attempt}", "due")]
    if seen.state == "in_flight":
        return [Moment(None, f"In flight now, attempt {seen.attempt}", "held")]
    return [Moment(None, f"Ready for attempt {seen.attempt}", "due")]
