"""What to do about an error that a call met, the same for sync and async.

Most errors end one way: the same call, with the same operation number, is sent again until the
retry budget is used up. The scripts make that safe.
"""

from __future__ import annotations

import logging
import random
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redis import exceptions

from ..errors import (
    ConfigError,
    QueueCorrupt,
    QueueFull,
    QueueUnavailable,
    ServerUnsupported,
    TypedRMQError,
)
from .misfit import chain, refused_by_tls
from .rights import missing_right

__all__ = [
    "RETRIABLE",
    "Attempts",
    "Refused",
    "Resend",
    "bad_option",
    "bad_url",
    "clean",
    "loosened",
    "unanswered",
]

logger: Final = logging.getLogger("typed_rmq")

RETRIABLE: Final = (
    exceptions.RedisError,
    exceptions.RedisClusterException,  # not a RedisError: no node answers, or nobody has the slot
    OSError,
    ValueError,
)
"""What ``Attempts.after`` knows how to judge."""

FIRST_DELAY: Final = 0.05
MAX_DELAY: Final = 2.0

_FATAL_LINKS: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
)
# redis-py takes the first word off an error that it has a class for; it stays inside of scripts.
# "non local key": a script met a key of a slot that is on its way to another node.
_PASSING: Final = (
    "LOADING", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "non local key",
)  # fmt: skip
_CLUSTER_DOWN: Final = exceptions.ClusterDownError
_PASSING_ERRORS: Final = (_CLUSTER_DOWN, exceptions.TryAgainError)
# A server that was the master, and has let go of what was blocked there.
_DEMOTED: Final = ("READONLY", "UNBLOCKED")
_URL = re.compile(r"\b[a-z]+://\S+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Resend:
    """Send the call again.

    Attributes:
        delay: seconds to wait before.
        reconnect: on a new connection.
        source: with the script's text, as the server does not know its hash.
        full: with the flag that lets it pass when Redis is out of memory.
        moved: after looking up again which server has the slot.
        ask: once, at this server, while the slot is on its way there.
        doubt: after a look whether the port is of the kind that we take it for.
    """

    delay: float = 0.0
    reconnect: bool = False
    source: bool = False
    full: bool = False
    moved: bool = False
    ask: tuple[str, int] | None = None
    doubt: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Redis does not do what a plain command asks: ``reason`` is its own word."""

    reason: str


class Attempts:
    """One call's way through errors, bounded by the retry budget in seconds.

    ``cluster`` says whether connections can follow a slot to another node.
    """

    def __init__(
        self,
        queue: str,
        budget: float,
        tell: Callable[[str], None],
        rng: Callable[[], float] = random.random,
        *,
        since: float | None = None,
        cluster: bool = False,
    ) -> None:
        self._cluster = cluster
        self._queue = queue
        self._budget = budget
        self._tell = tell
        self._rng = rng
        self._since = since
        self._failures = 0
        self._may_have_left = False

    def after(self, error: Exception, now: float, *, can_fill: bool) -> Resend:
        """What to do about ``error``; raises what the user must see where nothing helps.

        ``can_fill`` says whether the call has the flag for a Redis that is out of memory and has
        not set it yet.
        """
        text = str(error)
        if isinstance(error, exceptions.NoScriptError) or "NOSCRIPT" in text:
            return Resend(source=True)
        if isinstance(error, exceptions.AskError) and not self._cluster:
            raise ConfigError(
                f"queue {self._queue!r}: this Redis is a node of a Cluster, where each queue has "
                "its own node. Let its URL begin with redis+cluster:// or rediss+cluster://, or "
                "pass redis.RedisCluster or redis.asyncio.RedisCluster as redis=",
                queue=self._queue,
            ) from None
        if isinstance(error, exceptions.MovedError):
            return self._again(error, now, Resend(moved=True, reconnect=True), patient=False)
        if isinstance(error, exceptions.AskError):
            return self._again(error, now, Resend(ask=(error.host, error.port)), patient=False)
        if isinstance(error, exceptions.OutOfMemoryError) or "OOM " in text:
            if can_fill:
                return Resend(full=True)
            raise QueueFull(
                f"queue {self._queue!r} cannot take more: Redis is out of memory. Nothing was "
                "stored. Let consumers catch up, or raise maxmemory",
                queue=self._queue,
            ) from None
        if isinstance(error, exceptions.ResponseError):
            return self._response(error, text, now)
        if isinstance(error, _FATAL_LINKS) or refused_by_tls(error):
            raise QueueUnavailable(
                f"queue {self._queue!r}: Redis refused the connection: {clean(text)}. Check the "
                "user, the password, and the certificates",
                queue=self._queue,
            ) from None
        if isinstance(error, ValueError):
            raise QueueCorrupt(
                f"queue {self._queue!r}: a script answered in a form that is not ours ({text})",
                queue=self._queue,
            ) from None
        return self._again(error, now, Resend(reconnect=True))

    def misfit(self, reason: str | None) -> None:
        """What the look at a doubtful port has found: with a reason, nothing else can help."""
        if reason is not None:
            raise QueueUnavailable(f"queue {self._queue!r}: {reason}", queue=self._queue) from None

    def left(self, now: float) -> float:
        """Seconds that the next try may take: what is left of the budget, but a try is a try."""
        spent = 0.0 if self._since is None else now - self._since
        return max(0.1, self._budget - spent)

    def hurry(self, now: float) -> None:
        """Somebody wants to leave: one second more is all."""
        spent = 0.0 if self._since is None else now - self._since
        self._budget = min(self._budget, spent + 1.0)

    def _response(self, error: exceptions.ResponseError, text: str, now: float) -> Resend:
        if "WRONGTYPE" in text or "TRMQ_CORRUPT" in text or "not an integer" in text:
            raise QueueCorrupt(
                f"queue {self._queue!r}: one of its keys holds something that typed_rmq did not "
                f"write ({clean(text)}). Nothing was changed. Look at the keys "
                f"trmq:{{{self._queue}}}:* and remove the foreign one",
                queue=self._queue,
            ) from None
        if isinstance(error, exceptions.ReadOnlyError) or any(word in text for word in _DEMOTED):
            # A failover: the connection leads to what is a replica now. Redis 6.2 wraps the
            # error of a script in another one.
            return self._again(error, now, Resend(moved=True, reconnect=True))
        if isinstance(error, _PASSING_ERRORS) or any(word in text for word in _PASSING):
            return self._again(error, now, Resend(moved=isinstance(error, _CLUSTER_DOWN)))
        if (right := missing_right(error)) is not None:
            raise QueueUnavailable(
                f"queue {self._queue!r}: Redis refuses this user: {clean(right)}. Compare its "
                "rights with the rule in docs/operations",
                queue=self._queue,
            ) from None
        if "unknown command" in text.lower():
            raise ServerUnsupported(
                f"queue {self._queue!r} needs Redis 6.2 or later, or Valkey: {clean(text)}",
                queue=self._queue,
            ) from None
        raise QueueUnavailable(
            f"queue {self._queue!r}: Redis refused the call: {clean(text)}", queue=self._queue
        ) from None

    def _again(
        self, error: Exception, now: float, resend: Resend, *, patient: bool = True
    ) -> Resend:
        """``resend`` with a delay, as long as the budget lasts."""
        if self._since is None:
            self._since = now
        self._failures += 1
        reason = clean(str(error)) or type(error).__name__
        if isinstance(error, exceptions.AskError):  # redis-py leaves the numbers only
            reason = f"{'MOVED' if isinstance(error, exceptions.MovedError) else 'ASK'} {reason}"
        if not _nobody_there(error):
            self._may_have_left = True
        spent = now - self._since
        if spent >= self._budget:
            then = (
                "The call may have been done all the same: a publish can be repeated, which with "
                "deduplication on stores nothing twice"
                if self._may_have_left
                else "Nothing was sent. Check that Redis runs, and where: redis=, or REDIS_URL"
            )
            raise QueueUnavailable(
                f"queue {self._queue!r}: Redis could not do the call within {self._budget:g} s "
                f"and {self._failures} tries; the last error was: {reason}. {then}",
                queue=self._queue,
            ) from None
        if self._failures == 1 and patient:
            logger.warning(
                "queue %s: Redis does not answer (%s); trying again", self._queue, reason
            )
            self._tell(reason)
        # Full jitter, so that a thousand clients do not come back at once. The first try after
        # a broken connection goes out at once: most often only the connection was stale.
        ceiling = (
            0.0
            if self._failures == 1
            else min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(self._failures, 16))
        )
        delay = min(self._rng() * ceiling, max(0.0, self._budget - spent))
        return Resend(
            delay=delay,
            reconnect=resend.reconnect,
            # A server that is gone cannot say who has its slots now: the others are asked.
            moved=resend.moved or (resend.reconnect and self._failures > 1),
            ask=resend.ask,
            doubt=self._doubt(error, reason),
        )

    def _doubt(self, error: Exception, reason: str) -> bool:
        """Whether the port may speak another language: twice cut, or a handshake without end."""
        if isinstance(error, exceptions.ResponseError) or _nobody_there(error):
            return False
        slow = isinstance(error, exceptions.TimeoutError | TimeoutError) and "onnect" in reason
        return self._failures == (1 if slow else 2)


def _nobody_there(error: Exception) -> bool:
    """Whether no connection was made, as there is no such host, or nothing listens."""
    missing = ConnectionRefusedError | FileNotFoundError | socket.gaierror
    return any(isinstance(one, missing) for one in chain(error))


def clean(text: str) -> str:
    """An error text of Redis or of the network, without addresses that hold a password."""
    return _URL.sub("<url>", text)[:300].rstrip(". ")


def loosened(error: exceptions.ResponseError) -> exceptions.ResponseError:
    """The error without redis-py's frames.

    Its frame that raised the error holds it as well. Left in a ring, the two keep all frames below
    alive until the garbage collector comes round: that of the user's loop, too, whose iterator
    must go the moment the loop is left.
    """
    return error.with_traceback(None)


def unanswered(queue: str, error: Exception) -> QueueUnavailable:
    """A command that is not tried again got no answer."""
    reason = clean(str(error)) or type(error).__name__
    return QueueUnavailable(
        f"queue {queue!r}: Redis did not answer ({reason}); try again", queue=queue
    )


def bad_url(url: object) -> TypedRMQError:
    """A URL that redis-py does not understand; it may hold a password, so it is not shown."""
    del url
    return ConfigError(
        "the address of Redis is not a URL that is understood: use redis://host:6379/0, rediss:// "
        "for TLS, unix:///path/to/socket, redis+cluster://host:7000,host:7001, or "
        "redis+sentinel://host:26379,host:26380/service"
    )


def bad_option() -> TypedRMQError:
    """What stands behind the ``?`` may be a piece of a password, so it is not shown."""
    return ConfigError(
        "the address of Redis has an option behind its ? that redis-py does not know, or a value "
        "that the option does not take. A ? in a password is written %3F"
    )
