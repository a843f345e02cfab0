"""``python -m tests.planted``: which proof notices which fault, and after how many steps."""

from __future__ import annotations

import logging
import sys
import uuid

from tests.servers import start
from tests.simulation.server import start_server

from .faults import IN_THE_MIDDLE, PLANTED
from .proving import found_by_simulation, lost_in_the_middle


def main() -> int:
    logging.disable(logging.CRITICAL)
    missed = 0
    print("| planted fault | noticed by | after | what is said |\n|---|---|---:|---|")
    with start_server() as running:
        for name, planted in PLANTED.items():
            found = found_by_simulation(running, planted, hint=False)
            missed += found is None
            steps, said = found or (0, "NOT NOTICED")
            text = said.split(": ", 1)[-1].split(":")[0].replace("|", " ")[:90]
            print(f"| {name} | simulation | {steps:,} steps | {text} |", flush=True)
    with start(tcp=True) as server, server.client() as client:
        for name, (scenario, mutants) in IN_THE_MIDDLE.items():
            lost = lost_in_the_middle(client, f"q-{uuid.uuid4().hex[:8]}", scenario, mutants)
            missed += not lost
            text = f"a message is gone when {', '.join(lost) or 'NOT NOTICED'} is refused"
            print(f"| {name} | a call ended in the middle | 1 call | {text} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
