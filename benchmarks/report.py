"""The figures as a table for the terminal, as JSON, and as a table for the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from .slices import Figure

__all__ = ["DOCS", "RESULTS", "Part", "Report", "load", "markdown", "replace_in_docs", "save"]

RESULTS = Path(__file__).parent / "results" / "core.json"
DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"

_NAMES = {
    "cores": "cores",
    "processor": "processor",
    "system": "system",
    "python": "Python",
    "server": "server",
    "redis": "redis-py",
    "hiredis": "hiredis",
    "pydantic": "Pydantic",
    "typed_rmq": "typed_rmq",
}


@dataclass(frozen=True)
class Part:
    """Figures that were measured under one heading; ``method`` is a sentence on how."""

    title: str
    method: str
    figures: list[Figure]


@dataclass(frozen=True)
class Report:
    """A whole run; ``note`` is what a reader must know of it."""

    date: str
    machine: dict[str, str | int]
    note: str
    parts: list[Part]


def value(figure: Figure) -> str:
    """``25.3x (24.1 to 26.0)``."""
    text = _number(figure.value, figure.unit)
    if figure.low is not None and figure.high is not None:
        text += f" ({_number(figure.low)} to {_number(figure.high)})"
    return text


def goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    if figure.unit == "":  # a count that must stay below ten
        return "< 10"
    return f"{'≤' if figure.at_most else '≥'} {_number(figure.goal, figure.unit)}"


def verdict(figure: Figure) -> str:
    return {None: "", True: "reached", False: "MISSED"}[figure.reached]


def _number(number: float, unit: str = "") -> str:
    digits = 1 if abs(number) >= 10 else 2 if abs(number) >= 0.1 else 4
    text = f"{number:,.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text}{unit}" if unit in ("", "x") else f"{text} {unit}"


def lines(part: Part) -> Iterable[str]:
    """The part as a table in plain text."""
    rows = [(f.name, value(f), goal(f), verdict(f), f.detail) for f in part.figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    yield ""
    yield part.title
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)]
        yield f"  {'  '.join(cells)}".rstrip()


def save(report: Report, path: Path) -> None:
    path.write_text(json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n", "utf-8")


def load(path: Path) -> Report:
    data = json.loads(path.read_text("utf-8"))
    parts = [
        Part(part["title"], part["method"], [Figure(**figure) for figure in part["figures"]])
        for part in data["parts"]
    ]
    return Report(data["date"], data["machine"], data["note"], parts)


def markdown(report: Report) -> str:
    """What stands between the marks in the documentation."""
    machine = ", ".join(
        f"{report.machine[key]} {name}" if key == "cores" else f"{name} {report.machine[key]}"
        for key, name in _NAMES.items()
        if key in report.machine
    )
    out = [f"Measured on {report.date}: {machine}."]
    if report.note:
        out += ["", f"**{report.note}**"]
    for part in report.parts:
        out += ["", f"### {part.title}", ""]
        if part.method:
            out += [part.method, ""]
        out += ["| What | Result | Goal | | Behind it |", "|---|---|---|---|---|"]
        for figure in part.figures:
            name = figure.name.replace("|", "\\|")
            out.append(
                f"| {name} | {value(figure)} | {goal(figure)} | {verdict(figure)} "
                f"| {figure.detail} |"
            )
    return "\n".join(out) + "\n"


def replace_in_docs(report: Report, path: Path) -> None:
    text = path.read_text("utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise SystemExit(f"{path.name} has no place for results: {BEGIN} ... {END}")
    path.write_text(f"{before}{BEGIN}\n\n{markdown(report)}\n{END}{after}", "utf-8")
