"""Options of connections and queues from the environment, by pydantic-settings.

Needs the extra ``settings``: ``pip install 'typed_rmq[settings]'``.
"""

from __future__ import annotations

import os
from typing import ClassVar, Literal, TypedDict

from pydantic import SecretStr

from .drivers.connection import Connection
from .errors import ConfigError
from .producer import Overflow
from .retry import Retry

try:
    from pydantic_settings import BaseSettings, SettingsConfigDict
except ImportError:
    raise ConfigError(
        "settings from the environment need a package: pip install 'typed_rmq[settings]'"
    ) from None

__all__ = ["QueueSettings", "SettingsOptions"]


class SettingsOptions(TypedDict):
    """The options of ``Queue`` that ``QueueSettings`` knows."""

    retry: Retry
    lease: float
    max_length: int | None
    overflow: Overflow
    keep_done: int
    keep_dead: int
    max_payload: int


class QueueSettings(BaseSettings):
    """Where Redis is and how queues behave, from ``REDIS_URL`` and ``TYPED_RMQ_...``.

    Each field is read from the variable of its name: ``lease`` from ``TYPED_RMQ_LEASE``. For
    a second set use another prefix: ``QueueSettings(_env_prefix="ORDERS_")``; the URL is then
    ``ORDERS_REDIS_URL``, else ``REDIS_URL``. Defaults are those of ``Queue``, ``Retry``, and
    ``Connection``. Subclass it to add fields of your own, or a ``.env`` file.

    Attributes:
        redis_url: the address of Redis, as ``Connection`` takes it, also of a Cluster or of
            Sentinels; kept out of every repr, as it may hold a password.
        retry_budget: seconds for which a call that Redis does not answer is tried again.
        lease: seconds without a sign of life after which a consumer counts as crashed.
        max_length: the most ready and delayed messages of a queue; none where left out.
        overflow: ``raise``, ``block``, or ``drop_oldest``.
        keep_done: completions to keep in the log.
        keep_dead: dead letters to keep.
        max_payload: the largest payload, in bytes.
        max_attempts: deliveries until a failing message becomes a dead letter.
        backoff: seconds before the first retry.
        factor: by which each further wait is longer.
        max_backoff: seconds that a wait takes at most.
        jitter: ``full`` or ``none``.

    Example:
        >>> import os
        >>> from typed_rmq import Queue
        >>> from typed_rmq.settings import QueueSettings
        >>> os.environ["TYPED_RMQ_LEASE"] = "15"
        >>> settings = QueueSettings()
        >>> with settings.connection() as connection:
        ...     orders = Queue[str]("doc-settings", connection, **settings.options())
        >>> settings.lease
        15.0
        >>> del os.environ["TYPED_RMQ_LEASE"]
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="TYPED_RMQ_", extra="ignore", hide_input_in_errors=True
    )

    redis_url: SecretStr | None = None
    retry_budget: float = 30.0
    lease: float = 60.0
    max_length: int | None = None
    overflow: Overflow = "raise"
    keep_done: int = 0
    keep_dead: int = 10_000
    max_payload: int = 1_048_576
    max_attempts: int = 5
    backoff: float = 1.0
    factor: float = 2.0
    max_backoff: float = 600.0
    jitter: Literal["full", "none"] = "full"

    def connection(self) -> Connection:
        """A connection to share among queues; close it when they are done.

        Raises:
            ConfigError: there is no address, or it is not one.
        """
        url = self.redis_url.get_secret_value() if self.redis_url else os.environ.get("REDIS_URL")
        if not url:
            raise ConfigError("no address of Redis: set REDIS_URL, or redis_url of the settings")
        return Connection(url, retry_budget=self.retry_budget)

    def options(self) -> SettingsOptions:
        """The options for ``Queue``: ``Queue[Order]("orders", connection, **options())``.

        Raises:
            ConfigError: the retry policy makes no sense; what else does not, ``Queue`` says.
        """
        return SettingsOptions(
            retry=Retry(
                max_attempts=self.max_attempts,
                backoff=self.backoff,
                factor=self.factor,
                max_backoff=self.max_backoff,
                jitter=self.jitter,
            ),
            lease=self.lease,
            max_length=self.max_length,
            overflow=self.overflow,
            keep_done=self.keep_done,
            keep_dead=self.keep_dead,
            max_payload=self.max_payload,
        )
