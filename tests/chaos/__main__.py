"""``python -m tests.chaos --seed 7 --seconds 60``: the last line is a JSON object."""

from __future__ import annotations

import argparse
import json
import random
import sys

from .chaos import wreak
from .history import Broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--seconds", type=float, default=20.0, help="of harm")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    try:
        known, faults = wreak(options.seed, options.seconds)
    except Broken as broken:
        print(f"seed {options.seed}: {broken}")
        return 1
    print(
        json.dumps(
            {
                "steps": faults.total(),
                "messages": known.stored,
                "deliveries": known.deliveries,
                "faults": dict(faults),
                **vars(known),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
