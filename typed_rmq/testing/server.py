"""The Redis of a test run: a real server of its own, emptied for each test, whose time can pass."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from importlib import resources
from typing import Final, cast

import redis

from ..drivers.first_use import say_nothing_of
from ..embedded import start
from ..retry import Duration, seconds

__all__ = ["RedisForTests", "redis_for_tests"]

_ADVANCE: Final = (resources.files("typed_rmq.testing") / "advance.lua").read_text("utf-8")


class RedisForTests:
    """A Redis that holds nothing but what a test puts there.

    Made by ``redis_for_tests()`` and by the fixture ``rmq_redis``.

    Args:
        url: where it is. Its database is emptied without a question: never that of anything but
            tests.

    Attributes:
        url: its address, for ``redis=``.
        client: a plain client of redis-py, to look and to meddle.
    """

    def __init__(self, url: str) -> None:
        self.url: str = url
        self.client: redis.Redis = redis.Redis.from_url(url)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def empty(self) -> None:
        """Delete every key."""
        self.client.execute_command("FLUSHDB")

    def advance(self, time: Duration) -> None:
        """Let so many seconds pass for everything in this Redis, at once.

        Every moment that is still to come moves nearer, in one atomic step: due times of delayed
        messages and retries, the ends of leases, the windows of deduplication, and the expiry of
        all other keys. Idle consumers are woken.

        The Python side notices nothing, so for a consumer with a message in hand it is as if it
        had been frozen for that time: it may lose its lease. What tells of the past stays as it
        is: ``published_at``, ``died_at``, and the age of the oldest message.

        It takes about a millisecond and can be called from async code.

        Raises:
            ConfigError: the time is negative, or no time.

        Example:
            >>> from typed_rmq import Queue
            >>> from typed_rmq.testing import redis_for_tests
            >>> with redis_for_tests() as server, Queue[str]("later", server.url) as later:
            ...     _ = later.publish("tomorrow", delay=86_400)
            ...     before = later.receive()
            ...     server.advance(86_400)
            ...     with later.receive() as text:
            ...         print(before, text)
            None tomorrow
        """
        ms = round(seconds(time, "time") * 1000)
        self.client.execute_command("EVAL", _ADVANCE, 0, ms)

    def close(self) -> None:
        """Close the client; the server goes on."""
        self.client.close()


@contextlib.contextmanager
def redis_for_tests() -> Generator[RedisForTests]:
    """A server of one's own, gone with all its data when the block ends.

    It is the embedded server (extra ``embedded``, or ``valkey-server`` or ``redis-server`` on
    ``PATH``), in a temporary folder, and it writes nothing to the disk. Starting it takes about a
    tenth of a second, so share one: the fixture ``rmq_redis`` does.

    Raises:
        ConfigError: no server is installed.

    Example:
        >>> from typed_rmq import Queue
        >>> from typed_rmq.testing import redis_for_tests
        >>> with redis_for_tests() as server, Queue[int]("numbers", server.url) as numbers:
        ...     _ = numbers.publish(7)
        ...     numbers.stats().ready
        1
    """
    with (
        tempfile.TemporaryDirectory(prefix="typed_rmq-", ignore_cleanup_errors=True) as folder,
        start(folder) as server,
    ):
        found = RedisForTests(server.url)
        try:
            found.client.execute_command("CONFIG", "SET", "appendonly", "no")
            said = found.client.execute_command("INFO", "server")
            say_nothing_of(str(cast("dict[str, object]", said)["run_id"]))
            yield found
        finally:
            found.close()
