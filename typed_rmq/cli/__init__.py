"""``typed-rmq``: the queues of a Redis on the command line (extra ``cli``)."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

NEEDED = ("typer", "rich", "watchfiles")


def main() -> None:
    """Run the command line and exit with its code."""
    if any(find_spec(name) is None for name in NEEDED):
        sys.stderr.write("typed-rmq: not installed in full: pip install 'typed_rmq[cli]'\n")
        sys.exit(2)
    from .app import run

    sys.exit(run(sys.argv[1:]))
