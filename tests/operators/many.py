"""A program that works a queue in several processes: ``python many.py URL QUEUE [OPTION...]``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

from typed_rmq import Queue, Retry

GATE = Path(os.environ.get("MANY_GATE", "/nonexistent"))


def handle(number: int) -> None:
    """Says which process it is; a message of -1 kills the first one that gets it."""
    with Path(os.environ["MANY_LOG"]).open("a") as log:
        log.write(f"{number} {os.getpid()}\n")
    if number == -1 and not GATE.exists():
        GATE.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number >= 1000:
        time.sleep((number - 1000) / 1000)


def main(url: str, name: str, *options: str) -> None:
    logging.basicConfig(level=logging.INFO)
    queue = Queue[int](name, url, lease=2.0, retry=Retry(backoff=0, jitter="none"))
    queue.run(handle, processes=2, until_empty="until-empty" in options)
    queue.close()
    print("ended", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
