"""What is known of a message's life, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

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
) -> list[Moment]:
    """The moments of a message, oldest first.

    Redis keeps when a message was published and when it ended, and how many attempts there were.
    What lies between is known only as far as a sample of the dashboard caught it.
    """
    moments: list[Moment] = []
    published = letter.published_at if letter else seen.published_at if seen else None
    if published is not None:
        moments.append(Moment(published, "Published"))
    attempts = letter.attempts if letter else seen.attempt if seen else 1
    if attempts > 1:
        earlier = "1 earlier attempt" if attempts == 2 else f"{attempts - 1} earlier attempts"
        moments.append(Moment(None, f"{earlier} failed, at times that were not kept", "failed"))
    for sighting, where in sightings:
        at = datetime.fromtimestamp(sighting.first, UTC)
        held = sighting.last - sighting.first
        how_long = f" for at least {duration(held)}" if held >= 1 else ""
        moments.append(Moment(at, f"Seen in flight at {where}{how_long}", "held"))
    moments += _last(seen, letter)
    return moments


def _last(seen: Peeked[object] | None, letter: DeadLetter[object] | None) -> list[Moment]:
    if letter is not None:
        return [Moment(letter.died_at, f"Dead: {letter.reason}", "dead")]
    if seen is None:
        return []
    if seen.state == "done":
        took = "" if seen.duration is None else f", handled in {duration(seen.duration)}"
        return [Moment(seen.finished_at, f"Done in attempt {seen.attempt}{took}", "done")]
    if seen.state == "delayed":
        return [Moment(seen.due_at, f"Due for attempt {seen.attempt}", "due")]
    if seen.state == "in_flight":
        return [Moment(None, f"In flight now, attempt {seen.attempt}", "held")]
    return [Moment(None, f"Ready for attempt {seen.attempt}", "due")]
