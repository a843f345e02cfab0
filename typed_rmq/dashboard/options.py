"""What an operator decides about the dashboard."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from typed_rmq import ConfigError

__all__ = ["Auth", "Options"]

Auth = Callable[[Request], bool | Awaitable[bool]]
"""Whether a request may see and use the dashboard; asked for each of them."""

SHORTEST_TOKEN: Final = 16


@dataclass(frozen=True)
class Options:
    """The arguments of ``create_app``, checked.

    Raises:
        ConfigError: the token is too short, both ``token`` and ``auth`` are given, or the interval
            is no time.
    """

    token: str | None = None
    auth: Auth | None = None
    read_only: bool = False
    show_payloads: bool = False
    interval: float = 5.0
    title: str = "typed_rmq"

    def __post_init__(self) -> None:
        if self.token is not None and self.auth is not None:
            raise ConfigError("give the dashboard a token or an auth callable, not both")
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"the dashboard's token has fewer than {SHORTEST_TOKEN} characters: it could be "
                "guessed. Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        if not (math.isfinite(self.interval) and 0.1 <= self.interval <= 600):
            raise ConfigError(f"interval must be 0.1 to 600 seconds, got {self.interval!r:.50}")

    @property
    def guarded(self) -> bool:
        """Whether it asks who comes; without, it only answers on the loopback interface."""
        return self.token is not None or self.auth is not None
