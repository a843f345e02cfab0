"""Every error that typed_rmq raises, as one tree.

::

    TypedRMQError
    ├── ConfigError            the queue, an option, or the address of Redis is wrong
    ├── PayloadError           the payload is not what the queue takes, or cannot be stored
    ├── QueueFull              the queue is at its bound, or Redis is out of memory
    ├── LeaseLost              another consumer owned the message when the verdict arrived
    ├── AlreadySettled         the message has a verdict already
    ├── QueueUnavailable       Redis could not be reached or refused the work
    ├── QueueCorrupt           a key of the queue holds something that is not ours
    ├── DurabilityNotReached   stored, but not yet as safe as was asked for
    ├── ServerUnsupported      the server is too old or lacks a needed command
    └── DataLossDetected       Redis lost operations that it had confirmed

Each carries ``queue``, the queue's name, and ``message_id`` where there is one.
No text of an error shows a payload, a password, or a URL with credentials.
"""

from __future__ import annotations

__all__ = [
    "AlreadySettled",
    "ConfigError",
    "DataLossDetected",
    "DurabilityNotReached",
    "LeaseLost",
    "PayloadError",
    "QueueCorrupt",
    "QueueFull",
    "QueueUnavailable",
    "ServerUnsupported",
    "TypedRMQError",
]


class TypedRMQError(Exception):
    """The root of the tree: ``except TypedRMQError`` catches all that the library raises itself.

    Args:
        message: what happened and what to do next.
        queue: the queue's name, where there is one.
        message_id: the message's id, where there is one.

    Example:
        >>> try:
        ...     raise QueueFull("the queue is full", queue="orders")
        ... except TypedRMQError as error:
        ...     print(error.queue, error)
        orders the queue is full
    """

    def __init__(
        self, message: str, *, queue: str | None = None, message_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.queue = queue
        self.message_id = message_id

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(
    cls: type[TypedRMQError], args: tuple[str, ...], state: dict[str, object]
) -> TypedRMQError:
    """Pickle support: keyword-only attributes survive a process pool's way back."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(TypedRMQError):
    """A queue, an option, or the address of Redis is wrong; raised before anything is sent."""


class PayloadError(TypedRMQError):
    """A payload is not what the queue takes, or cannot be stored safely.

    The text names the fields and what is wrong with them, never their values.
    ``index`` is the position of the item in ``publish_many``; ``problems`` holds one
    ``(location, what)`` for each fault found.
    """

    def __init__(
        self,
        message: str,
        *,
        queue: str | None = None,
        message_id: str | None = None,
        index: int | None = None,
        problems: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message, queue=queue, message_id=message_id)
        self.index = index
        self.problems = problems


class QueueFull(TypedRMQError):
    """The queue is at ``max_length``, or Redis is out of memory. Nothing was stored."""


class LeaseLost(TypedRMQError):
    """Another consumer owned the message when this verdict arrived; the verdict has no effect."""


class AlreadySettled(TypedRMQError):
    """The message has a verdict already; the first one stands."""


class QueueUnavailable(TypedRMQError):
    """Redis could not be reached within the retry budget, or it refused the work."""


class QueueCorrupt(TypedRMQError):
    """A key of the queue holds something that typed_rmq did not write. Nothing was changed."""


class DurabilityNotReached(TypedRMQError):
    """The message is stored, but not on as many replicas, or on disk, in time.

    It may be lost if Redis fails now. To publish it again is safe where the queue deduplicates.
    """


class ServerUnsupported(TypedRMQError):
    """The server is too old, or lacks a command that the queue needs."""


class DataLossDetected(TypedRMQError):
    """Redis lost operations that it had confirmed, as after a failover or a restored backup.

    ``lost`` says how many operations of this client are missing.
    """

    def __init__(
        self,
        message: str,
        *,
        queue: str | None = None,
        message_id: str | None = None,
        lost: int = 0,
    ) -> None:
        super().__init__(message, queue=queue, message_id=message_id)
        self.lost = lost
