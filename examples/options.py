"""The one option that all examples share: where Redis is."""

from __future__ import annotations

import argparse

__all__ = ["parser", "redis_url"]


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with ``--url``; left out, typed_rmq itself looks for Redis.

    That is: the environment's ``REDIS_URL`` if set, else an embedded server.
    """
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument(
        "--url",
        metavar="URL",
        help="redis://..., rediss://... or unix://...; default: REDIS_URL, else an embedded server",
    )
    return made


def redis_url(description: str | None) -> str | None:
    """The ``--url`` of an example that has no other options."""
    url: str | None = parser(description).parse_args().url
    return url
