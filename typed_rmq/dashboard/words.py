"""How numbers, times, and foreign text are shown."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Final

import pydantic_core

__all__ = ["ago", "clock", "duration", "number", "payload_text", "rate", "raw_text", "visible"]

UNITS: Final = ((1, 0.001, "ms"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h"))
"""Below so many seconds, a time is shown in units of so many seconds."""
LONGEST: Final = 64 * 1024
"""So many characters of a payload or a traceback are shown."""


def number(value: float) -> str:
    """12,345; with a digit behind the point where it is small and not whole."""
    return f"{value:,.0f}" if value == int(value) or value >= 10 else f"{value:.1f}"


def rate(value: float) -> str:
    """How many a second."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.1 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """12 ms, 1.3 s, 5 min, 2 h, 3 d."""
    for below, size, unit in UNITS:
        if seconds < below:
            value = seconds / size
            exact = value >= 10 or abs(value - round(value)) < 0.05
            return f"{value:.0f} {unit}" if exact else f"{value:.1f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """5 s ago, or in 5 s."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    if seconds > 0:
        return f"{duration(round(seconds))} ago"
    return f"in {duration(round(-seconds))}"


def clock(moment: datetime) -> str:
    """The date and time in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def visible(text: str) -> str:
    """Foreign text with everything unseen made visible: nothing in it can turn or hide the rest."""
    return "".join(c if _harmless(c) else _escaped(c) for c in text)


def _harmless(c: str) -> bool:
    return c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs"


def _escaped(c: str) -> str:
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


def payload_text(payload: object) -> str:
    """A payload as its model writes it: JSON on several lines, secrets of the model masked."""
    return shortened(
        visible(
            pydantic_core.to_json(
                payload, indent=2, serialize_unknown=True, inf_nan_mode="strings"
            ).decode()
        )
    )


def raw_text(raw: bytes) -> str:
    """Bytes as text where they are UTF-8, else in hexadecimal, sixteen in a row."""
    try:
        return shortened(visible(raw.decode()))
    except UnicodeDecodeError:
        shown = raw[: LONGEST // 4]
        rows = (shown[at : at + 16] for at in range(0, len(shown), 16))
        text = "\n".join(f"{n * 16:08x}  {row.hex(' ')}" for n, row in enumerate(rows))
        more = len(raw) - len(shown)
        return f"{text}\n… and {more:,} more bytes" if more else text


def shortened(text: str) -> str:
    """At most ``LONGEST`` characters, and how many more there are."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n… and {len(text) - LONGEST:,} more characters"
