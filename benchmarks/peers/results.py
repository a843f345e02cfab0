"""What was measured, kept in a file after every pass, so that a run can be taken up again."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Latency", "Results", "Summary", "percentile"]


@dataclass(frozen=True)
class Summary:
    """Medians over the rounds of one verb of one entry. Rates a second, µs and bytes a message."""

    rate: float
    low: float
    high: float
    rounds: int
    client: float
    server: float
    to_server: float
    from_server: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the start of publishing to the first line of an idle worker's handler."""

    p50: float
    p99: float
    samples: int


def percentile(values: list[float], share: float) -> float:
    """The nearest rank."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


class Results:
    """All of a run, as plain data.

    ``slices``: pinning/size/verb -> entry -> a dict of clocks for each round.
    ``about``: entry -> what its child said of itself. ``problems``: entry -> what went wrong.
    """

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        tables = ("slices", "about", "problems", "latency", "memory")
        empty: dict[str, dict[str, Any]] = {name: {} for name in tables}
        self.data: dict[str, Any] = {"machine": {}, "date": "", "note": "", "passes": [], **empty}
        self.data.update(data or {})

    @classmethod
    def load(cls, path: Path) -> Results:
        return cls(json.loads(path.read_text("utf-8")))

    def save(self, path: Path) -> None:
        text = json.dumps(self.data, indent=1, ensure_ascii=False, sort_keys=True)
        temporary = path.with_suffix(".part")
        temporary.write_text(text + "\n", "utf-8")
        temporary.replace(path)

    def done(self, name: str) -> bool:
        return name in self.data["passes"]

    def finish(self, name: str) -> None:
        self.data["passes"].append(name)

    def add(self, where: str, entry: str, figures: dict[str, int]) -> None:
        self.data["slices"].setdefault(where, {}).setdefault(entry, []).append(figures)

    def problem(self, entry: str, text: str) -> None:
        known = self.data["problems"].setdefault(entry, [])
        if text not in known:
            known.append(text)

    def rate(self, where: str, entry: str) -> float | None:
        """Of the last round; for the size of the next slice."""
        rounds = self.data["slices"].get(where, {}).get(entry)
        return float(rounds[-1]["n"] / rounds[-1]["wall_ns"] * 1e9) if rounds else None

    def summary(self, where: str, entry: str) -> Summary | None:
        rounds = self.data["slices"].get(where, {}).get(entry)
        if not rounds:
            return None
        rates = [r["n"] / r["wall_ns"] * 1e9 for r in rounds]

        def each(name: str, unit: float = 1.0) -> float:
            return float(statistics.median(r[name] / r["n"] for r in rounds)) / unit

        return Summary(
            rate=statistics.median(rates),
            low=min(rates),
            high=max(rates),
            rounds=len(rates),
            client=each("client_ns", 1000),
            server=each("server_ns", 1000),
            to_server=each("to_server"),
            from_server=each("from_server"),
        )

    def ratio(self, where: str, entry: str, raw_where: str, raw: str) -> float | None:
        """To another entry's rate, round by round; the median."""
        ours = self.data["slices"].get(where, {}).get(entry)
        theirs = self.data["slices"].get(raw_where, {}).get(raw)
        if not ours or not theirs:
            return None
        ratios = [
            a["n"] / a["wall_ns"] / (b["n"] / b["wall_ns"])
            for a, b in zip(ours, theirs, strict=False)
        ]
        return float(statistics.median(ratios))

    def latency(self, entry: str) -> Latency | None:
        samples = [ms for group in self.data["latency"].get(entry, []) for ms in group]
        if not samples:
            return None
        return Latency(percentile(samples, 0.5), percentile(samples, 0.99), len(samples))
