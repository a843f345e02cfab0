"""From the last hour of a queue to the lines of its charts. Pure geometry; templates draw it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from .series import Bucket, History, percentile
from .words import duration, number, rate

__all__ = ["Chart", "Line", "Slice", "charts_of", "spark"]

WIDTH: Final = 600
HEIGHT: Final = 120
POINTS: Final = 60

UNKNOWN: Final = "—"

Value = float | None
Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its class in the style sheet, its name, and its path in the drawing."""

    kind: str
    name: str
    path: str
    area: str
    now: str


@dataclass(frozen=True, slots=True)
class Slice:
    """One moment: where it stands in the drawing, and what all lines say there."""

    x: float
    width: float
    when: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart; without lines, ``empty`` says why there is nothing to draw."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    slices: tuple[Slice, ...]
    top: str
    half: str
    begin: str
    summary: str
    empty: str = ""


def charts_of(history: History, now: float, *, keeps_done: bool) -> list[Chart]:
    """The four charts of a queue's page."""
    span = history.span(now)
    groups = history.window(now, span, POINTS)

    def last(pick: Callable[[Bucket], float]) -> list[Value]:
        return [pick(group[-1]) if group else None for group in groups]

    def each_second(pick: Callable[[Bucket], int]) -> list[Value]:
        return [_rate(group, pick) for group in groups]

    def sums(pick: Callable[[Bucket], int]) -> list[Value]:
        known = [[bucket for bucket in group if bucket.known] for group in groups]
        values = [float(sum(map(pick, group))) if group else None for group in known]
        if any(value is not None for value in values[:-1]):
            values[-1] = None  # it has not ended: its sum would look like a fall
        return values

    def times(share: float) -> list[Value]:
        return [percentile([t for b in group for t in b.total], share) for group in groups]

    # One place for each series: what it is called, and what it is made of.
    depth = _chart(
        "Depth",
        "messages",
        span,
        number,
        ("ready", "Ready", last(lambda b: b.ready)),
        ("delayed", "Delayed", last(lambda b: b.delayed)),
        ("in-flight", "In flight", last(lambda b: b.in_flight)),
    )
    throughput = _chart(
        "Throughput",
        "a second",
        span,
        rate,
        ("ready", "Published", each_second(lambda b: b.published)),
        ("done", "Completed", each_second(lambda b: b.completed)),
    )
    if keeps_done:
        latency = _chart(
            "Latency",
            "from publish to done",
            span,
            duration,
            ("p50", "p50", times(0.50)),
            ("p95", "p95", times(0.95)),
            ("p99", "p99", times(0.99)),
        )
    else:
        latency = _chart(
            "Oldest ready message",
            "age; for latencies, set keep_done",
            span,
            duration,
            ("delayed", "Age", [max((b.oldest_age for b in g), default=None) for g in groups]),
        )
    failures = _chart(
        "Failures",
        f"in {duration(span / len(groups))}",
        span,
        number,
        ("delayed", "Failed attempts", sums(lambda b: b.failed)),
        ("dead", "Dead letters", sums(lambda b: b.dead_lettered)),
    )
    return [depth, throughput, latency, failures]


def spark(history: History, now: float) -> str:
    """The path of a small picture of all that waits."""
    groups = history.window(now, history.span(now), 30)
    values: list[Value] = [float(g[-1].ready + g[-1].delayed) if g else None for g in groups]
    return _path(values, _ceiling(values))[0]


def _rate(group: Sequence[Bucket], pick: Callable[[Bucket], int]) -> Value:
    known = sum(bucket.known for bucket in group)
    return sum(map(pick, group)) / known if known else None


def _chart(
    title: str, unit: str, span: float, words: Format, *series: tuple[str, str, list[Value]]
) -> Chart:
    everything = [value for _, _, values in series for value in values]
    begin = f"{round(span / 60)} min ago"
    if all(value is None for value in everything):
        empty = "Nothing measured yet: the first points come after a few seconds."
        return Chart(title, unit, (), (), "", "", begin, empty, empty)
    top = _ceiling(everything)
    lines: list[Line] = []
    for kind, name, values in series:
        path, area = _path(values, top)
        newest = next((v for v in reversed(values) if v is not None), None)
        lines.append(Line(kind, name, path, area, UNKNOWN if newest is None else words(newest)))
    count = len(series[0][2])
    slices: list[Slice] = []
    for at in range(count):
        column = [values[at] for _, _, values in series]
        if all(value is None for value in column):
            continue
        ago = (count - 1 - at) * span / count
        slices.append(
            Slice(
                round(at * WIDTH / count, 1),
                round(WIDTH / count, 2),
                f"{duration(ago)} ago" if ago else "now",
                tuple(UNKNOWN if value is None else words(value) for value in column),
            )
        )
    highest = max(value for value in everything if value is not None)
    now = ", ".join(f"{line.name} {line.now}" for line in lines)
    summary = (
        f"{title}, {unit}, over the last {round(span / 60)} minutes: {now}; "
        f"highest value {words(highest)}."
    )
    return Chart(
        title, unit, tuple(lines), tuple(slices), words(top), words(top / 2), begin, summary
    )


def _ceiling(values: Sequence[Value]) -> float:
    """A round number that none of them exceeds."""
    highest = max((value for value in values if value is not None), default=0.0)
    if highest <= 0:
        return 1.0
    scale = 1.0
    while scale < highest:
        scale *= 10
    while scale / 10 >= highest:
        scale /= 10
    return next(scale / 10 * step for step in (1, 2, 4, 6, 8, 10) if scale / 10 * step >= highest)


def _path(values: Sequence[Value], top: float) -> tuple[str, str]:
    """A line through the middle of each slice, broken where nothing is known; and what is below."""
    width = WIDTH / len(values)
    line: list[str] = []
    area: list[str] = []
    run: list[tuple[float, float]] = []
    for at, value in enumerate([*values, None]):
        if value is not None:
            run.append((round((at + 0.5) * width, 1), round(HEIGHT * (1 - value / top), 1)))
        elif run:
            if len(run) == 1:  # a point alone is drawn as a short stroke
                x, y = run[0]
                run = [(x - width / 3, y), (x + width / 3, y)]
            points = "L".join(f"{x:.1f} {y:.1f}" for x, y in run)
            line.append(f"M{points}")
            area.append(f"M{run[0][0]:.1f} {HEIGHT}L{points}L{run[-1][0]:.1f} {HEIGHT}Z")
            run = []
    return "".join(line), "".join(area)
