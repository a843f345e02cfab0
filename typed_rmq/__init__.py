"""typed_rmq: typed queues on Redis.

``Queue[Order]("orders")`` takes only what Pydantic accepts as an ``Order``, recognizes repeats by
a hash of their content, keeps messages through crashes, and hands them back as ``Order`` in
``for msg in queue`` and ``async for msg in queue``.
"""

from __future__ import annotations

from importlib.metadata import version as _version

from .consumer import Consumer
from .deadletters import DeadLetters
from .dedup import Dedup, DedupKey
from .drivers.connection import Connection
from .durability import Durability, Fsync, Replicas
from .errors import (
    AlreadySettled,
    ConfigError,
    DataLossDetected,
    DurabilityNotReached,
    LeaseLost,
    PayloadError,
    QueueCorrupt,
    QueueFull,
    QueueUnavailable,
    ServerUnsupported,
    TypedRMQError,
)
from .events import Observer
from .findings import Audit, Finding
from .listing import aqueues, queues
from .message import Message
from .queue import Queue
from .results import ConsumerInfo, DeadLetter, Peeked, Priority, QueueStats, Receipt, State
from .retry import Duration, Retry
from .serializers import (
    Compressed,
    Encrypted,
    Json,
    MsgPack,
    Serializer,
    SerializerFactory,
    register,
)

__all__ = [
    "AlreadySettled",
    "Audit",
    "Compressed",
    "ConfigError",
    "Connection",
    "Consumer",
    "ConsumerInfo",
    "DataLossDetected",
    "DeadLetter",
    "DeadLetters",
    "Dedup",
    "DedupKey",
    "Durability",
    "DurabilityNotReached",
    "Duration",
    "Encrypted",
    "Finding",
    "Fsync",
    "Json",
    "LeaseLost",
    "Message",
    "MsgPack",
    "Observer",
    "PayloadError",
    "Peeked",
    "Priority",
    "Queue",
    "QueueCorrupt",
    "QueueFull",
    "QueueStats",
    "QueueUnavailable",
    "Receipt",
    "Replicas",
    "Retry",
    "Serializer",
    "SerializerFactory",
    "ServerUnsupported",
    "State",
    "TypedRMQError",
    "aqueues",
    "queues",
    "register",
]

__version__ = _version("typed_rmq")
