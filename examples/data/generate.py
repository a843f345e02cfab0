"""Writes ``orders.ndjson``: orders as they come from the outside, good ones and bad ones.

    python -m examples.data.generate            # writes examples/data/orders.ndjson again
    python -m examples.data.generate --check    # only says whether the file is what this writes

The same seed gives the same file. Of 3,000 lines 4% repeat an earlier line exactly, 3% repeat
an earlier order with its keys in another order, and 2% are not valid orders.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from examples.models import DISCONTINUED, Order, make_order

__all__ = ["ORDERS", "generate"]

ORDERS = Path(__file__).with_name("orders.ndjson")

LINES = 3_000
EXACT = 120
REORDERED = 90
INVALID = 60
DISCONTINUED_EVERY = 65
"""One order in so many asks for something that is sold no more."""

Fields = dict[str, object]


def generate(seed: int = 20250303) -> list[str]:
    """The file's lines, without their line ends."""
    rng = random.Random(seed)
    first_times = LINES - EXACT - REORDERED - INVALID
    lines = [_line(_fields(_original(number, rng))) for number in range(1, first_times + 1)]
    _insert_repeats(lines, rng)
    for index in range(INVALID):
        # Order ids above all the good ones: an invalid line is never the repeat of a good one.
        fields = _fields(make_order(900_000 + index, rng))
        spoilt = SPOILERS[index % len(SPOILERS)](fields)
        lines.insert(rng.randrange(len(lines) + 1), spoilt)
    return lines


def _original(number: int, rng: random.Random) -> Order:
    sku = rng.choice(sorted(DISCONTINUED)) if number % DISCONTINUED_EVERY == 0 else None
    return make_order(number, rng, sku=sku)


def _insert_repeats(lines: list[str], rng: random.Random) -> None:
    for index in range(EXACT + REORDERED):
        source = rng.randrange(len(lines) - 40)
        repeat = lines[source]
        if index >= EXACT:
            items = list(json.loads(repeat).items())
            rng.shuffle(items)
            repeat = _line(dict(items))
        # Half of them come close behind, as from an impatient second click; half come later.
        near = rng.random() < 0.5
        gap = rng.randrange(1, 8) if near else rng.randrange(8, len(lines) - source)
        lines.insert(source + gap, repeat)


def _fields(order: Order) -> Fields:
    fields: Fields = order.model_dump(mode="json")
    return fields


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _without(name: str) -> Callable[[Fields], str]:
    return lambda fields: _line({key: value for key, value in fields.items() if key != name})


def _with(name: str, value: object) -> Callable[[Fields], str]:
    return lambda fields: _line({**fields, name: value})


SPOILERS: tuple[Callable[[Fields], str], ...] = (
    lambda fields: _line(fields)[:-23],  # cut off half-way
    lambda fields: _line(list(fields.values())),  # an array, not an object
    lambda fields: ";".join(str(value) for value in fields.values()),  # CSV among the JSON
    _without("price"),
    _without("customer"),
    _with("quantity", -2),
    _with("quantity", 0),
    _with("quantity", "a dozen"),
    _with("price", "on request"),
    _with("price", "19.999"),
    _with("currency", "DOGE"),
    _with("country", "Germany"),
    _with("customer", "no address given"),
    _with("placed_at", "yesterday"),
    _with("placed_at", "2025-03-03T09:15:00"),  # no time zone: which nine o'clock?
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write examples/data/orders.ndjson.")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check: bool = parser.parse_args().check
    text = "".join(line + "\n" for line in generate())
    if check:
        same = ORDERS.read_text(encoding="utf-8") == text
        print(f"{ORDERS.name} is {'as generated' if same else 'not as generated'}")
        return 0 if same else 1
    ORDERS.write_text(text, encoding="utf-8")
    print(f"{ORDERS.name}: {text.count(chr(10)):,} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
