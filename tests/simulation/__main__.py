"""``python -m tests.simulation``: many episodes, or one of them again with its trace.

python -m tests.simulation --steps 200000 --jobs 2
python -m tests.simulation --seed 123            # make replay SEED=123
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time

from tests.servers import KINDS

from .runner import EPISODE, report, simulate
from .server import start_server
from .world import Failure, play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this episode alone, and show its trace")
    parser.add_argument("--first", type=int, help="the first seed (default: drawn)")
    parser.add_argument("--steps", type=int, default=200_000, help="at least so many, in all")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--server", default="valkey", choices=KINDS)
    parser.add_argument("--seconds", type=float, help="end after so long, whatever the steps")
    parser.add_argument("--json", action="store_true", help="the last line is for programs")
    parser.add_argument("--tail", type=int, default=60, help="lines of the trace; 0 for all")
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed, options.server, options.tail)
    first = options.first
    if first is None:
        first = random.SystemRandom().randrange(10**9)
    started = time.monotonic()
    print(f"first seed {first}", flush=True)
    try:
        tally = simulate(
            *(first, 10**12 if options.seconds else options.steps),
            jobs=options.jobs,
            kind=options.server,
            seconds=options.seconds,
        )
    except Failure as failure:
        print(failure)
        return 1
    print(report(tally, time.monotonic() - started))
    if options.json:
        faults = {name: n for name, n in tally.faults.items() if name != "answer"}
        print(json.dumps({**vars(tally), "faults": faults}))
    return 0


def replay(seed: int, kind: str, tail: int) -> int:
    trace: list[str] = []
    with start_server(kind) as running:
        try:
            tally = play(running, seed, EPISODE, trace=trace)
        except Failure as failure:
            print("\n".join(trace[-tail:]))
            print(failure)
            return 1
    print("\n".join(trace[-tail:]))
    print(f"seed {seed}: no promise was broken in {tally.steps} steps, {tally.calls} calls")
    return 0


if __name__ == "__main__":
    sys.exit(main())
