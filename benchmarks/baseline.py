"""Figures that repeat from run to run, and what is said of a new run beside the saved one.

Pure: no server, no clock. A figure is named ``kind: what``, such as ``client: publish one``.
Instructions are compared where what they depend on is the same, traffic always.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = [
    "BEGIN",
    "END",
    "Baseline",
    "Comparison",
    "Line",
    "Tolerance",
    "compare",
    "markdown",
    "replace_in_docs",
]

Facts = Mapping[str, str]

BEGIN, END = "<!-- instructions: begin -->", "<!-- instructions: end -->"


@dataclass(frozen=True)
class Tolerance:
    """How far above the saved figure is still the same.

    Attributes:
        share: of the saved figure.
        slack: this much besides for the loop: how it cuts its batches depends on the time.
        needs: the versions that the figure depends on; compared only where these are the same.
    """

    share: float
    slack: float = 0.0
    needs: tuple[str, ...] = ()

    def bound(self, name: str, old: float) -> float:
        return old * (1 + self.share) + (self.slack if name.endswith(": loop") else 0.0)


_MACHINE = ("valgrind", "machine")

TOLERANCES: Mapping[str, Tolerance] = {
    "server": Tolerance(0.05, 1_500.0, needs=("server", *_MACHINE)),
    "client": Tolerance(
        0.08, 1_500.0, needs=("python", "build", "redis", "hiredis", "pydantic", *_MACHINE)
    ),
    "requests": Tolerance(0.02, 0.005),
    "commands": Tolerance(0.02, 0.05),
    "bytes in": Tolerance(0.02, 3.0),
    "bytes out": Tolerance(0.02, 3.0),
}
"""By kind: well above how far they differ from run to run, also on a busy machine."""


@dataclass(frozen=True)
class Baseline:
    """What was measured, each for one message, and with which versions."""

    facts: dict[str, str]
    figures: dict[str, float] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")

    @staticmethod
    def load(path: Path) -> Baseline:
        data = json.loads(path.read_text("utf-8"))
        return Baseline(data["facts"], data["figures"])


DEARER, APART, UNKNOWN = "MORE", "not compared", "not in the baseline"


@dataclass(frozen=True)
class Line:
    """One figure, old and new; ``old`` is ``None`` for what the baseline does not have."""

    name: str
    old: float | None
    new: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All lines, and what could not be compared, for which reason."""

    lines: list[Line]
    not_compared: list[str]

    @property
    def worse(self) -> list[str]:
        return [line.name for line in self.lines if line.verdict == DEARER]

    def table(self) -> Iterator[str]:
        yield f"{'':34}{'old':>12}{'new':>12}{'ratio':>8}"
        for line in self.lines:
            old = "" if line.old is None else number(line.old)
            ratio = f"{line.new / line.old:.3f}" if line.old else ""
            row = f"{line.name:34}{old:>12}{number(line.new):>12}{ratio:>8}  {line.verdict}"
            yield row.rstrip()


def compare(
    old: Baseline, new: Baseline, tolerances: Mapping[str, Tolerance] = TOLERANCES
) -> Comparison:
    """What is above its tolerance, and what is not comparable, for which reason."""
    lines: list[Line] = []
    skipped: list[str] = []
    for kind, tolerance in tolerances.items():
        gone = [name for name in _of(kind, old.figures) if name not in new.figures]
        if gone:
            skipped.append(f"not measured in this run: {', '.join(gone)}")
        measured = list(_of(kind, new.figures))
        fresh = [name for name in measured if name not in old.figures]
        if fresh:
            skipped.append(f"not in the baseline: {', '.join(fresh)}")
        different = _different(tolerance.needs, old.facts, new.facts)
        if different and measured:
            skipped.append(f"instructions of the {kind}: {different}")
        for name in measured:
            before, now = old.figures.get(name), new.figures[name]
            if before is None:
                verdict = UNKNOWN
            elif different:
                verdict = APART
            else:
                verdict = DEARER if now > tolerance.bound(name, before) else ""
            lines.append(Line(name, before, now, verdict))
    return Comparison(lines, skipped)


def _different(needs: Iterable[str], old: Facts, new: Facts) -> str:
    return "; ".join(
        f"{need} is {new.get(need, 'unknown')} here, {old.get(need, 'unknown')} in the baseline"
        for need in needs
        if new.get(need) != old.get(need)
    )


def _of(kind: str, figures: Mapping[str, float]) -> Iterator[str]:
    return (name for name in figures if name.startswith(f"{kind}: "))


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


_ROWS = (
    ("publish one / `LPUSH`", "publish one", "LPUSH"),
    ("consume one, `prefetch=1` / `LPOP`", "consume one", "LPOP"),
    ("publish_many by 500, a message", "publish_many", None),
    ("loop, a message", "loop", None),
)


def markdown(baseline: Baseline) -> str:
    """The table of docs/performance.md, in thousands as nothing finer repeats."""

    def cell(kind: str, what: str | None) -> str:
        value = baseline.figures[f"{kind}: {what}"] if what else None
        return "" if value is None else f"{round(value, -3):,.0f}"

    rows = [
        f"| {title} | {cell('server', what)} | {cell('server', raw)} "
        f"| {cell('client', what)} | {cell('client', raw)} |".replace("|  |", "| |")
        for title, what, raw in _ROWS
    ]
    head = [
        "| | server, queue | server, raw | client, queue | client, raw |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def replace_in_docs(baseline: Baseline, path: Path) -> None:
    text = path.read_text("utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise SystemExit(f"{path.name} has no place for the table: {BEGIN} ... {END}")
    path.write_text(f"{before}{BEGIN}\n\n{markdown(baseline)}\n\n{END}{after}", "utf-8")
