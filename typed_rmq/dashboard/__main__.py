"""``python -m typed_rmq.dashboard [app.queues:orders ...]``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from typed_rmq import Queue, TypedRMQError

from . import DashboardQueue, Discovery, serve

VARIABLE = "TYPED_RMQ_DASHBOARD_TOKEN"


def load(place: str) -> DashboardQueue:
    """The queue that ``app.queues:orders`` names."""
    module, _, name = place.partition(":")
    if not module or not name:
        raise SystemExit(f"{place!r} names no queue: write app.queues:orders")
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise SystemExit(f"cannot find {place}: {error}") from None
    if not isinstance(found, Queue):
        raise SystemExit(f"{place} is no Queue")
    return cast("DashboardQueue", found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m typed_rmq.dashboard", description=main.__doc__)
    parser.description = (
        "A dashboard for queues in the browser. Without queues: all that are found in Redis."
    )
    parser.add_argument("queues", nargs="*", metavar="app.queues:orders")
    parser.add_argument("--redis", metavar="URL", help="where to find queues (default: $REDIS_URL)")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8070, help="default: %(default)s")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=f"or ${VARIABLE}")
    parser.add_argument("--read-only", action="store_true", help="only look")
    parser.add_argument("--show-payloads", action="store_true", help="show what messages hold")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two samples")
    given = parser.parse_args(arguments)
    sys.path.insert(0, str(Path.cwd()))
    token = os.environ.get(VARIABLE)
    if given.token_file is not None:
        try:
            token = given.token_file.read_text().strip()
        except OSError as error:
            raise SystemExit(f"cannot read the token: {error}") from None
    try:
        queues = [load(place) for place in given.queues] or Discovery(given.redis)
        sys.stderr.write(f"Dashboard on http://{given.host}:{given.port}/ (Ctrl-C ends it)\n")
        serve(
            queues,
            host=given.host,
            port=given.port,
            token=token or None,
            read_only=given.read_only,
            show_payloads=given.show_payloads,
            interval=given.interval,
        )
    except TypedRMQError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
