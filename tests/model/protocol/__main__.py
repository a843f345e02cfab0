"""Search the model from a shell.

::

    python -m tests.model.protocol                 what CI searches, all rules on
    python -m tests.model.protocol --large         larger worlds, 60 seconds for each
    python -m tests.model.protocol --large --seconds 900 --only Waiting
    python -m tests.model.protocol --list          the rules by name
    python -m tests.model.protocol --off 1-repeat-is-answered
                                                   the shortest way into trouble without that rule
"""

from __future__ import annotations

import argparse
import sys
import time

from .cases import CASES
from .rules import RULES, switched_off
from .search import Found, World, explore
from .worlds import FULL, LARGE, QUICK


def main() -> int:
    """Returns 1 where something is broken that should not be, or holds that should break."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.model.protocol", description="Search the model of the protocol."
    )
    parser.add_argument("--large", action="store_true", help="the worlds of the soak")
    parser.add_argument("--seconds", type=float, help="for each world; no bound without --large")
    parser.add_argument("--only", default="", help="worlds whose kind or name contains this")
    parser.add_argument("--off", metavar="RULE", help="search without this rule")
    parser.add_argument("--list", action="store_true", help="show the rules")
    options = parser.parse_args()
    if options.list:
        for name, text in RULES.items():
            print(f"{name:36} {text}")
        return 0
    if options.off:
        return _without(parser, options.off)
    worlds = LARGE if options.large else [*QUICK, *FULL]
    chosen = [one for one in worlds if options.only in f"{type(one).__name__}: {one.name}"]
    seconds = options.seconds or (60.0 if options.large else None)
    began, found = time.perf_counter(), [_show(one, seconds) for one in chosen]
    states, steps = sum(one.states for one in found), sum(one.steps for one in found)
    broken = [one for one in found if one.violated]
    ended = sum(one.complete for one in found)
    print(
        f"\n{len(found)} worlds, {ended} exhausted, {states:,} states, {steps:,} steps, "
        f"{time.perf_counter() - began:.0f} s: {len(broken) or 'nothing'} broken"
    )
    return 1 if broken or not found else 0


def _show(world: World, seconds: float | None) -> Found:
    found = explore(world, seconds=seconds, compact=seconds is not None)
    print(f"{type(world).__name__}: {found}", flush=True)
    return found


def _without(parser: argparse.ArgumentParser, name: str) -> int:
    try:
        off = switched_off([name])
    except LookupError as error:
        parser.error(str(error))
    case = CASES[name]
    print(f"Without rule {name} ({RULES[name]}):")
    found = explore(case.world.without(off))
    print(found)
    return 0 if found.violated == case.breaks else 1


if __name__ == "__main__":
    sys.exit(main())
