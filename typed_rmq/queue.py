"""``Queue[T]``: what users hold.

Its methods stand in five files: ``publishing.py``, ``consuming.py``, ``looking.py``,
``steering.py``, and ``checking.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypedDict, TypeVar

from .binding import UNBOUND, bind_type, type_name
from .checking import Checking
from .consuming import Consuming
from .dedup import Dedup
from .drivers.connection import Client, Connection
from .durability import Durability
from .errors import ConfigError
from .events import Observer
from .keys import check_name
from .looking import Looking
from .losses import OnDataLoss
from .parts import Parts
from .producer import Overflow
from .publishing import Publishing
from .retry import Duration, Retry
from .serializers.json import Json
from .serializers.protocol import Serializer, SerializerFactory, Wrapper
from .steering import Steering

T = TypeVar("T")

__all__ = ["Queue"]


class _Options(TypedDict, Generic[T]):
    """What a queue is made with, but for its name, its type, and Redis."""

    serializer: Serializer[T] | SerializerFactory | Wrapper
    dedup: Dedup[T] | None
    retry: Retry
    lease: Duration
    max_length: int | None
    overflow: Overflow
    keep_done: int
    keep_dead: int
    observers: Sequence[Observer]
    max_payload: int
    durability: Durability | None
    on_data_loss: OnDataLoss


class Queue(Publishing[T], Consuming[T], Looking[T], Steering[T], Checking[T], Generic[T]):
    """A typed queue in Redis: ``Queue[Order]("orders")`` takes and gives back ``Order``.

    ``T`` is any type that Pydantic's ``TypeAdapter`` takes. All methods come in two forms: a
    plain one, and one for asyncio whose name begins with ``a``. The same object serves both,
    and any number of threads, tasks, and processes.

    Args:
        name: 1 to 128 of the characters ``A-Z a-z 0-9 . _ : -``.
        redis: a URL (see ``Connection``), a client of redis-py, or a ``Connection`` that queues
            share. Left out: ``REDIS_URL``, else an embedded server (extra ``embedded``).
        serializer: how payloads are stored.
        dedup: which payloads count as the same message; ``None`` turns deduplication off.
        retry: how often and how late a failed message is tried again.
        lease: seconds without a sign of life after which a consumer counts as crashed, and its
            messages go to others.
        max_length: the most ready and delayed messages; ``None`` for no bound.
        overflow: what a publish does at that bound: ``"raise"`` ``QueueFull``, ``"block"`` until
            there is room, or ``"drop_oldest"``, low priority first.
        keep_done: how many completions to keep in a log (see ``peek(state="done")``).
        keep_dead: how many dead letters to keep.
        observers: are told of what happens.
        max_payload: bytes; a larger payload is refused.
        durability: ``Replicas(...)`` or ``Fsync()``: what each publish waits for before it
            returns; ``None`` for Redis's own answer.
        on_data_loss: what is done where operations are missing that Redis had confirmed: the
            event ``data_loss`` and a line in the log (``"event"``), or also ``DataLossDetected``
            (``"raise"``) from the publish, whose messages are stored all the same, and from a
            loop, ``receive``, or ``run``, once, when the message in hand is settled.

    Raises:
        ConfigError: the name, an option, or the address of Redis is wrong, or no type was given.

    Example:
        >>> from pydantic import BaseModel
        >>> from typed_rmq import Queue
        >>> class Order(BaseModel):
        ...     order_id: int
        ...     sku: str
        >>> orders = Queue[Order]("doc-orders")
        >>> orders.publish(Order(order_id=1, sku="A")).duplicate
        False
        >>> for msg in orders.consume(until_empty=True):
        ...     with msg as order:
        ...         print(order.sku)
        A
    """

    _payload_type: ClassVar[object] = UNBOUND

    def __class_getitem__(cls, item: object) -> Any:
        if isinstance(item, TypeVar):
            return super().__class_getitem__(item)  # type: ignore[misc]  # typing has it untyped
        return bind_type(cls, item)

    def __init__(
        self,
        name: str,
        redis: str | Client | Connection | None = None,
        *,
        serializer: Serializer[T] | SerializerFactory | Wrapper = Json(),  # noqa: B008 - frozen
        dedup: Dedup[T] | None = Dedup(),  # noqa: B008 - frozen
        retry: Retry = Retry(),  # noqa: B008 - frozen
        lease: Duration = 60.0,
        max_length: int | None = None,
        overflow: Overflow = "raise",
        keep_done: int = 0,
        keep_dead: int = 10_000,
        observers: Sequence[Observer] = (),
        max_payload: int = 1_048_576,
        durability: Durability | None = None,
        on_data_loss: OnDataLoss = "event",
    ) -> None:
        check_name(name)
        if self._payload_type is UNBOUND:
            raise ConfigError(
                f"queue {name!r} has no type: write Queue[Order]({name!r}), with the type of its "
                "payloads in the brackets",
                queue=name,
            )
        if overflow not in ("raise", "block", "drop_oldest"):
            raise ConfigError(
                f"overflow must be 'raise', 'block', or 'drop_oldest', got {overflow!r:.50}",
                queue=name,
            )
        if on_data_loss not in ("event", "raise"):
            raise ConfigError(
                f"on_data_loss must be 'event' or 'raise', got {on_data_loss!r:.50}", queue=name
            )
        options = _Options[T](
            serializer=serializer,
            dedup=dedup,
            retry=retry,
            lease=lease,
            max_length=max_length,
            overflow=overflow,
            keep_done=keep_done,
            keep_dead=keep_dead,
            observers=observers,
            max_payload=max_payload,
            durability=durability,
            on_data_loss=on_data_loss,
        )
        self._set_up(name, redis, options)

    def _set_up(
        self, name: str, redis: str | Client | Connection | None, options: _Options[T]
    ) -> None:
        self._parts: Parts[T] = Parts(name, redis, self._payload_type, **options)
        self._made_with = (redis, options)

    def __reduce__(self) -> tuple[object, ...]:
        """For ``run(processes=...)``: made anew in another process, with the same options."""
        redis, options = self._made_with
        if isinstance(redis, Client):
            raise ConfigError(
                f"queue {self.name!r} was made with a client, which no other process can use: make "
                "it with a URL, or leave redis= out and set REDIS_URL",
                queue=self.name,
            )
        cls: type[Queue[T]] = type(self)
        if "_payload_type" not in vars(cls):  # a subclass with a name of its own
            return cls._made_anew, (cls, (), self.name, redis, options)
        # Made by the brackets: no module has it.
        return cls._made_anew, (
            cls.__bases__[0],
            (self._payload_type,),
            self.name,
            redis,
            options,
        )

    @staticmethod
    def _made_anew(
        kind: type[Queue[T]],
        bound_to: tuple[object, ...],
        name: str,
        redis: str | Connection | None,
        options: _Options[T],
    ) -> Queue[T]:
        bound = bind_type(kind, *bound_to) if bound_to else kind
        queue = bound.__new__(bound)
        # Not by its __init__: that of a subclass may take other arguments.
        queue._set_up(name, redis, options)  # noqa: SLF001 - a queue of our own making
        return queue

    def __repr__(self) -> str:
        return f"<Queue[{type_name(self._payload_type)}] {self.name!r}>"

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._parts.keys.name

    def observe(self, observer: Observer) -> None:
        """Tell this observer, too: publishes from now on, and loops that begin from now on."""
        self._parts.observers.add(observer)

    @property
    def payload_type(self) -> object:
        """The type in the brackets, for tools: ``Queue[Order]("orders").payload_type is Order``."""
        return self._payload_type

    def close(self) -> None:
        """Stop this object's consumers and close the connections that it made.

        The queue stays in Redis. Messages taken by ``receive`` and not settled count as failed.
        """
        self._parts.close()

    async def aclose(self) -> None:
        """``close`` for asyncio: also closes the connections of the running event loop."""
        await self._parts.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
