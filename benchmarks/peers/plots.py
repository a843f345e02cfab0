"""Bar charts as plain SVG: no library, light, readable on white and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "chart"]

WIDTH, LABEL, VALUE, ROW, TOP = 880, 272, 130, 22, 64
_COLOURS = {
    "typed_rmq": "#0b6e4f",
    "at least once": "#3d6fb4",
    "at most once": "#b9822b",
    "redis-py": "#8a8f98",
}
_MEANING = {
    "typed_rmq": "typed_rmq",
    "at least once": "at least once",
    "at most once": "at most once",
    "redis-py": "redis-py, no queue",
}
_FONT = "font-family='system-ui, sans-serif'"


@dataclass(frozen=True)
class Bar:
    """One bar; ``low`` and ``high`` are drawn as a whisker. ``kind`` is a key of the colours."""

    name: str
    kind: str
    value: float
    low: float | None
    high: float | None
    text: str


def chart(title: str, bars: Sequence[Bar], *, less_is_better: bool = False) -> str:
    """Bars on a logarithmic axis, the best first."""
    bars = sorted(bars, key=lambda bar: bar.value, reverse=not less_is_better)
    values = [value for bar in bars for value in (bar.value, bar.low, bar.high) if value]
    least, most = 10 ** math.floor(math.log10(min(values))), max(values)
    span = math.log10(most / least) or 1.0

    def x(value: float) -> float:
        return LABEL + (WIDTH - LABEL - VALUE) * math.log10(max(value, least) / least) / span

    height = TOP + ROW * len(bars) + 24
    frame = f"viewBox='0 0 {WIDTH} {height}' role='img' {_FONT} font-size='12'"
    label = escape(title, quote=True)
    out = [
        f"<svg xmlns='http://www.w3.org/2000/svg' {frame} aria-label='{label}'>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        f"<text x='12' y='22' font-size='15' font-weight='600' fill='#1c2530'>{label}</text>",
        *_legend({bar.kind for bar in bars}),
        *_axis(least, most, x, height),
    ]
    for number, bar in enumerate(bars):
        out += _row(bar, TOP + ROW * number, x)
    return "\n".join([*out, "</svg>", ""])


def _legend(kinds: set[str]) -> list[str]:
    out, at = [], 12.0
    for kind, colour in _COLOURS.items():
        if kind in kinds:
            text = _MEANING[kind]
            out.append(f"<rect x='{at}' y='34' width='11' height='11' rx='2' fill='{colour}'/>")
            out.append(f"<text x='{at + 16}' y='44' fill='#3c4653'>{text}</text>")
            at += 36 + 7 * len(text)
    return out


def _axis(least: float, most: float, x: Callable[[float], float], height: int) -> list[str]:
    out, tick, bottom = [], least, height - 22
    while tick <= most:
        at = f"{x(tick):.1f}"
        line = f"x1='{at}' x2='{at}' y1='{TOP - 6}' y2='{bottom}'"
        out.append(f"<line {line} stroke='#e3e7ec'/>")
        text = f"x='{at}' y='{height - 8}' text-anchor='middle' fill='#5b6673'"
        out.append(f"<text {text}>{tick:g}</text>")
        tick *= 10
    return out


def _row(bar: Bar, y: int, x: Callable[[float], float]) -> list[str]:
    end, middle = x(bar.value), y + ROW / 2 - 2
    weight = " font-weight='600'" if bar.kind == "typed_rmq" else ""
    words = f"y='{middle + 4}' fill='#1c2530'{weight}"
    size = f"width='{max(1.0, end - LABEL):.1f}' height='{ROW - 6}' rx='2'"
    out = [
        f"<text x='{LABEL - 8}' text-anchor='end' {words}>{escape(bar.name)}</text>",
        f"<rect x='{LABEL}' y='{y}' {size} fill='{_COLOURS[bar.kind]}'/>",
    ]
    tip = end
    if bar.low is not None and bar.high is not None:
        tip = max(end, x(bar.high))
        line = f"x1='{x(bar.low):.1f}' x2='{x(bar.high):.1f}' y1='{middle}' y2='{middle}'"
        out.append(f"<line {line} stroke='#1c2530' stroke-width='1.5'/>")
    out.append(f"<text x='{tip + 6:.1f}' {words}>{escape(bar.text)}</text>")
    return out
